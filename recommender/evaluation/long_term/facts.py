"""What is found out about the long term, as it is written down (`evaluation.json`)."""

from __future__ import annotations

from recommender.evaluation.records import Interval, Record


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
