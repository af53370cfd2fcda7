"""What is found out beside the comparison of means, as it is written down (`evaluation.json`)."""

from __future__ import annotations

from recommender.evaluation.records import Interval, Record


class SliceFacts(Record):
    """A group of requests.

    Attributes:
        family: what requests are grouped by.
        name: of the group.
        users, requests: in it.
        candidate, rival: their means of the primary metric; None for an empty group.
        difference: candidate minus rival.
        relative: that over the rival's mean; None where that is zero.
        p: of "no difference", corrected over all groups (Holm); None with fewer than two users.
        judged: whether it is large enough for the gate to look at.
    """

    family: str
    name: str
    users: int
    requests: int
    candidate: float | None
    rival: float | None
    difference: Interval
    relative: float | None
    p: float | None
    judged: bool


class GapFacts(Record):
    """How far apart groups of people are served, in the primary metric.

    Attributes:
        family: what people are grouped by.
        best, worst: names of the groups.
        gap: the candidate's, with its interval.
        rival_gap: between the same groups, the rival's.
        tolerance: what is allowed beyond the rival's gap.
        within: whether it is.
    """

    family: str
    best: str
    worst: str
    gap: Interval
    rival_gap: float
    tolerance: float
    within: bool


class ProviderFacts(Record):
    """What a provider (brand, category) gets for what it earns.

    Attributes:
        family: `brand` or `category`.
        name: of the provider.
        shown: share of the exposure, discounted by place.
        earned: share of what people took.
        ratio: shown over earned.
        taken: how much that was.
        within: whether the ratio is within tolerance.
    """

    family: str
    name: str
    shown: float
    earned: float
    ratio: float
    taken: int
    within: bool


class ListFacts(Record):
    """What one system's lists (ten places) are like; None where it isn't defined.

    Attributes:
        system: its name.
        coverage: share of the catalogue that is shown to anybody.
        gini: inequality of exposure.
        novelty: mean self-information in bits.
        diversity: mean distance of two items of a list.
        serendipity: share of places that were taken although the popular list lacks them.
        popularity_lift: how much more popular than what the user took before, as a share.
        age_days: mean age of what is shown.
    """

    system: str
    coverage: float
    gini: float | None
    novelty: float | None
    diversity: float | None
    serendipity: float | None
    popularity_lift: float | None
    age_days: float | None


class CurvePoint(Record):
    """A bin of a reliability curve."""

    predicted: float
    happened: float
    low: float
    high: float
    count: int


class HeadFacts(Record):
    """How well one event type is told from lesser ones; see `heads.Head`."""

    event: str
    cases: int
    positives: int
    users: int
    judged_users: int
    auc: float | None
    user_auc: float | None
    log_loss: float
    item_auc: float | None
    item_user_auc: float | None
    item_log_loss: float
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    calibration_error: float
    curve: tuple[CurvePoint, ...]


class ValueFacts(Record):
    """How far one kind of expected values is from what was given; see `values.ValueFit`."""

    name: str
    cases: int
    users: int
    mean: float
    mse: float
    rmse: float
    mae: float
    item_rmse: float
    item_mae: float


class OffPolicyFacts(Record):
    """What the log says the candidate would have earned.

    Attributes:
        surface: the places that it is about, in words.
        reward: what counts as one.
        impressions, users, rewards: in the log.
        logged: what the policy that served earned per impression.
        values: what the candidate would have, by estimator.
        differences: that minus `logged`.
        effective: effective sample size.
        largest_share: the largest weight's share.
        mean_weight: 1 but for chance if the log covers the candidate.
        set_aside: rows that could not be used, by reason.
        shortcomings: why it is `insufficient`; empty if it is not.
    """

    surface: str
    reward: str
    impressions: int
    users: int
    rewards: int
    logged: Interval
    values: dict[str, Interval]
    differences: dict[str, Interval]
    effective: float
    largest_share: float
    mean_weight: float
    set_aside: dict[str, int]
    shortcomings: tuple[str, ...]


class RetentionFacts(Record):
    """A cohort: when it began, how many, and who of them came back after so many days.

    Attributes:
        start: of its first day, UTC milliseconds.
        size: people.
        people: of them, those who could be followed for so many days.
        share: of those, who came back; None where nobody could be followed.
        low, high: its interval.
        negative: share of the cohort's sessions with negative feedback; None where no event type
            is negative.
    """

    start: int
    size: int
    people: tuple[int, ...]
    share: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    negative: float | None = None


class ProxyFacts(Record):
    """What the first days of a person say of the days that follow, on people who joined later.

    Attributes:
        early_days: days that the signals are taken from.
        horizon_days: days over which value (days with any activity) is counted, from joining on.
        fitted_on, tested_on: people.
        r2: share of the later people's differences that it explains.
        rank: Spearman correlation of predicted and true value.
        repeat_rank: the same of the plain early activity.
        caveats: what it can't tell.
    """

    early_days: int
    horizon_days: int
    fitted_on: int
    tested_on: int
    r2: float | None
    rank: float | None
    repeat_rank: float | None
    caveats: tuple[str, ...]


class LongTermFacts(Record):
    """The long term as the log shows it, under whatever policies served.

    Attributes:
        offsets: days after the first at which retention is looked at.
        width: days that a look lasts.
        cohorts: by first day.
        overall: of all cohorts together.
        sessions, users: in the log.
        sessions_per_user: mean.
        conversion: share of sessions with a success.
        dwell_s: median seconds of a session with more than one event; None without any.
        negative: share of sessions with negative feedback; None where no event type is negative.
        returned: share of sessions followed by another within `return_days`.
        return_days: days.
        value: mean of what events carried (a rating), by week; None where nothing.
        weeks: start of each week, UTC milliseconds.
        weekly_users: people seen in each week.
        caveats: what this can't tell.
        proxy: of long-term value; None where the log is too short or too few people joined.
    """

    offsets: tuple[int, ...]
    width: int
    cohorts: tuple[RetentionFacts, ...]
    overall: tuple[float | None, ...]
    sessions: int
    users: int
    sessions_per_user: float
    conversion: float
    dwell_s: float | None
    returned: float | None
    return_days: int
    value: tuple[float | None, ...]
    weeks: tuple[int, ...]
    weekly_users: tuple[int, ...]
    caveats: tuple[str, ...]
    negative: float | None = None
    proxy: ProxyFacts | None = None


class VersionFacts(Record):
    """A model version as the log of served lists shows it.

    Attributes:
        version: in the registry.
        first, last: list, UTC milliseconds.
        lists, people: that it served.
        success: share of lists that a success came of.
        negative: share of lists with negative feedback; None where no event type is negative.
        returned: share of a person's days after which the person came again within
            `VersionsFacts.return_days`; None where nobody could be followed.
        fallbacks: lists that were answered without a history.
    """

    version: str
    first: int
    last: int
    lists: int
    people: int
    success: float
    negative: float | None
    returned: float | None
    fallbacks: int


class EffectFacts(Record):
    """What one look at a change of versions says of one outcome; see `long_term.changes`.

    Attributes:
        method: of the look.
        outcome: in words.
        before, after: the versions.
        start: the first day of the later one, UTC milliseconds.
        effect: with its interval.
        plain: the plain comparison of means.
        detectable: the smallest true effect that such data show with 80 % power.
        people, others: behind it, under the later and the earlier version.
        crossed: of them, served by both.
        shortcomings: why it is insufficient; empty if it is not.
    """

    method: str
    outcome: str
    before: str
    after: str
    start: int
    effect: Interval
    plain: float | None
    detectable: float | None
    people: int
    others: int
    crossed: int
    shortcomings: tuple[str, ...]


class VersionsFacts(Record):
    """Versions that served, and what their changes did.

    Attributes:
        lists, people: behind it all.
        set_aside: lists that could not be used, by reason.
        return_days: see `VersionFacts.returned`.
        versions: in the order in which they first served.
        effects: of the latest changes.
        caveats: by method.
    """

    lists: int
    people: int
    set_aside: dict[str, int]
    return_days: int
    versions: tuple[VersionFacts, ...]
    effects: tuple[EffectFacts, ...]
    caveats: dict[str, tuple[str, ...]]


class BudgetFacts(Record):
    """What the candidate costs.

    Attributes:
        bytes: of its artifact's weights.
        milliseconds: median time to rank the catalogue for one request, on this machine.
    """

    bytes: int
    milliseconds: float


class Findings(Record):
    """Everything beside the comparison of means.

    Attributes:
        compared_with: the system that slices and gaps compare the candidate with.
        slices: groups of requests.
        gaps: groups of people.
        providers: the largest providers.
        lists: of every system.
        heads: of the candidate, on the last fold.
        values: that the candidate foretells, on the last fold.
        off_policy: None where no propensities were logged.
        long_term: as the log shows it.
        versions: None where no served lists were logged.
        budget: None where it was not measured.
    """

    compared_with: str
    slices: tuple[SliceFacts, ...] = ()
    gaps: tuple[GapFacts, ...] = ()
    providers: tuple[ProviderFacts, ...] = ()
    lists: tuple[ListFacts, ...] = ()
    heads: tuple[HeadFacts, ...] = ()
    values: tuple[ValueFacts, ...] = ()
    off_policy: OffPolicyFacts | None = None
    long_term: LongTermFacts | None = None
    versions: VersionsFacts | None = None
    budget: BudgetFacts | None = None
