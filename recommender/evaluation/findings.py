"""What is found out beside the comparison of means, as it is written down (`evaluation.json`)."""

from __future__ import annotations

from recommender.evaluation.long_term.facts import LongTermFacts, VersionsFacts
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
