"""The long term as the log shows it: who came back, how often, and whether they were pleased."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recommender.config.actions import ActionsConfig
from recommender.evaluation.long_term import retention as cohorts
from recommender.evaluation.long_term.facts import LongTermFacts, ProxyFacts, RetentionFacts
from recommender.evaluation.long_term.proxy import CAVEATS as PROXY_CAVEATS
from recommender.evaluation.long_term.proxy import validate_by_time
from recommender.evaluation.long_term.visits import DAY_MS, active_days, sessions
from recommender.evaluation.records import rounded
from recommender.features.sequences import EventLog

OFFSETS = (1, 7, 28)
RETURN_DAYS = 7
_MOST_COHORTS = 12
_MOST_DAYS = 730
_HORIZON_DAYS = 56
CAVEATS = (
    *cohorts.CAVEATS,
    "The log shows what people did under the policies of its time, not what they would do under "
    "the candidate.",
    "Whoever was shown something and did nothing leaves no trace in a log without impressions.",
)


def view(log: EventLog, actions: ActionsConfig, *, width: int = 1) -> LongTermFacts | None:
    """Look at a log's last two years.

    Args:
        log: events of all types.
        actions: which of them are a success.
        width: days that a look at retention lasts.

    Returns:
        None for a log without clock times or of less than two days.
    """
    if not len(log) or log.times.max() - log.times.min() < 2 * DAY_MS:
        return None
    last = int(log.times.max()) // DAY_MS + 1
    first = max(int(log.times.min()) // DAY_MS, last - _MOST_DAYS)
    active = active_days(log, first * DAY_MS, last - first)
    span = max(7, -(-(last - first) // _MOST_COHORTS))
    found = cohorts.retention(active, OFFSETS, cohort_days=span, width=width)
    visits = sessions(log, actions)
    longer = visits.dwell_s[visits.events > 1]
    followed, _ = visits.returned_within(RETURN_DAYS, int(log.times.max()))
    weeks = range(0, last - first, 7)
    week_E = (log.times // DAY_MS - first) // 7
    seen = (week_E >= 0) & ~np.isnan(log.values)
    counts = np.bincount(week_E[seen], minlength=len(weeks))
    totals = np.bincount(week_E[seen], log.values[seen], minlength=len(weeks))
    negative_V = visits.negatives > 0
    cohort_V = found.cohorts[visits.users]
    people = int((np.diff(log.offsets) > 0).sum())
    _, overall = found.overall()
    return LongTermFacts(
        offsets=OFFSETS,
        width=width,
        cohorts=tuple(
            RetentionFacts(
                start=int((first + found.first_days[row]) * DAY_MS),
                size=int(found.sizes[row]),
                people=tuple(found.people[row].tolist()),
                share=tuple(map(rounded, found.share[row])),
                low=tuple(map(rounded, found.low[row])),
                high=tuple(map(rounded, found.high[row])),
                negative=rounded(negative_V[cohort_V == row].mean()) if actions.negative else None,
            )
            for row in range(len(found.sizes))
        ),
        overall=tuple(map(rounded, overall)),
        sessions=len(visits),
        users=people,
        sessions_per_user=len(visits) / max(people, 1),
        conversion=float((visits.successes > 0).mean()),
        negative=rounded(negative_V.mean()) if actions.negative else None,
        dwell_s=float(np.median(longer)) if len(longer) else None,
        returned=float(followed.mean()) if len(followed) else None,
        return_days=RETURN_DAYS,
        value=tuple(
            round(float(total / count), 6) if count else None
            for total, count in zip(totals, counts, strict=True)
        ),
        weeks=tuple((first + week) * DAY_MS for week in weeks),
        weekly_users=tuple(int(active[week : week + 7].any(axis=0).sum()) for week in weeks),
        caveats=CAVEATS,
        proxy=_proxy(log, actions, active, first),
    )


def _proxy(
    log: EventLog, actions: ActionsConfig, active_TU: NDArray[np.bool_], first: int
) -> ProxyFacts | None:
    """Learn value from early signals on people who joined in the first half of the log."""
    days = len(active_TU)
    horizon = min(_HORIZON_DAYS, days // 4)
    early, test_from = horizon // 4, days // 2
    if early < 2:
        return None
    seen = active_TU.any(axis=0)
    joined = np.where(seen, active_TU.argmax(axis=0), -1)
    # A log begins in the middle of things: whoever is there at its start didn't join then.
    followed = seen & (joined >= early) & (joined + horizon <= days)
    people = np.flatnonzero(followed)
    day_E = log.times // DAY_MS - first - joined[log.user_of_event]
    soon_E = (day_E >= 0) & (day_E < early)
    success_E, negative_E = (
        np.isin(log.actions, [actions.code(name) for name in names])
        for names in (actions.successes, actions.negative)
    )
    user_E, count = log.user_of_event, len(joined)
    rated_E = soon_E & ~np.isnan(log.values)
    ratings = np.bincount(user_E[rated_E], log.values[rated_E], minlength=count)
    rated = np.bincount(user_E[rated_E], minlength=count)
    running = np.concatenate([np.zeros((1, count)), active_TU.cumsum(axis=0)])
    start = np.maximum(joined, 0)
    until = np.minimum(start + early, days)
    end = np.minimum(start + horizon, days)
    everyone = np.arange(count)
    signals = np.stack(
        [
            running[until, everyone] - running[start, everyone],
            np.log1p(np.bincount(user_E[soon_E], minlength=count)),
            np.log1p(np.bincount(user_E[soon_E & success_E], minlength=count)),
            np.log1p(np.bincount(user_E[soon_E & negative_E], minlength=count)),
            np.where(rated > 0, ratings / np.maximum(rated, 1), 0.0),
        ],
        axis=1,
    )
    value = running[end, everyone] - running[until, everyone]
    try:
        found = validate_by_time(
            signals[people], value[people], joined[people], horizon, test_from=test_from
        )
    except ValueError:  # too few people on a side
        return None
    return ProxyFacts(
        early_days=early,
        horizon_days=horizon,
        fitted_on=found.fitted_on,
        tested_on=found.tested_on,
        r2=rounded(found.r2),
        rank=rounded(found.rank),
        repeat_rank=rounded(found.repeat_rank),
        caveats=PROXY_CAVEATS,
    )
