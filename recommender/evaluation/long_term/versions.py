"""Model versions as the logs of served lists show them, and what each change of version did."""

from __future__ import annotations

import numpy as np

from recommender.config import Config
from recommender.evaluation.long_term import interrupted, matched
from recommender.evaluation.long_term.changes import (
    INTERRUPTED,
    MATCHED,
    Change,
    Effect,
    by_days,
    by_people,
    changes,
)
from recommender.evaluation.long_term.facts import EffectFacts, VersionFacts, VersionsFacts
from recommender.evaluation.long_term.served_lists import Bools, Shown
from recommender.evaluation.long_term.visits import DAY_MS
from recommender.evaluation.records import Interval, rounded

RETURN_DAYS = 7
_MOST_CHANGES = 5
SUCCESS, NEGATIVE, THERE = (
    "share of lists with a success",
    "share of lists with negative feedback",
    "share of days on which people are there",
)
CAVEATS = {
    INTERRUPTED: interrupted.CAVEATS,
    MATCHED: (
        *matched.CAVEATS,
        "People who were served by both count as what served them first, which makes the effect "
        "look smaller.",
        "It speaks for the time in which both served, which is too short for slow effects.",
    ),
}


def versions(shown: Shown, config: Config) -> VersionsFacts:
    """Describe every version, and the latest changes between them.

    Args:
        shown: the served lists.
        config: which event types are negative; the level and the least people.
    """
    latest = list(changes(shown))[-_MOST_CHANGES:]
    return VersionsFacts(
        lists=len(shown),
        people=shown.people,
        set_aside=shown.set_aside,
        return_days=RETURN_DAYS,
        versions=tuple(_version(shown, row, config) for row in range(len(shown.versions))),
        effects=tuple(fact for change in latest for fact in _effects(shown, change, config)),
        caveats=CAVEATS,
    )


def _version(shown: Shown, row: int, config: Config) -> VersionFacts:
    mine = shown.version == row
    people = shown.person[mine]
    return VersionFacts(
        version=shown.versions[row],
        first=int(shown.times[mine][0]),
        last=int(shown.times[mine][-1]),
        lists=int(mine.sum()),
        people=len(np.unique(people[people >= 0])),
        success=float(shown.success[mine].mean()),
        negative=float(shown.negative[mine].mean()) if config.actions.negative else None,
        returned=_returned(shown, mine),
        fallbacks=int(shown.fallback[mine].sum()),
    )


def _returned(shown: Shown, mine: Bools) -> float | None:
    """Return the share of visits after which the person came again within days."""
    known = np.flatnonzero(shown.person >= 0)
    visits, first = np.unique(
        np.stack([shown.person[known], shown.days[known]], axis=1), axis=0, return_index=True
    )
    follows = np.zeros(len(visits), bool)
    same = visits[1:, 0] == visits[:-1, 0]
    follows[:-1] = same & (visits[1:, 1] - visits[:-1, 1] <= RETURN_DAYS)
    # Of a visit in the last days nobody knows yet; a day's first list says who served it.
    asked = mine[known][first] & (visits[:, 1] + RETURN_DAYS <= shown.days[-1])
    return rounded(follows[asked].mean()) if asked.any() else None


def _effects(shown: Shown, change: Change, config: Config) -> list[EffectFacts]:
    settings = config.evaluation
    least = settings.gate.minimum_users
    outcomes: dict[str, Bools] = {SUCCESS: shown.success}
    if config.actions.negative:
        outcomes[NEGATIVE] = shown.negative
    found: list[tuple[str, Effect]] = []
    for name, outcome_N in [*outcomes.items(), (THERE, None)]:
        found.append(
            (
                name,
                by_people(
                    shown,
                    change,
                    outcome_N,
                    confidence=settings.confidence,
                    minimum_users=least,
                ),
            )
        )
    found += [
        (
            name,
            by_days(
                shown,
                change,
                outcome_N,
                confidence=settings.confidence,
                minimum_users=least,
            ),
        )
        for name, outcome_N in outcomes.items()
    ]
    return [_fact(shown, change, name, effect) for name, effect in found]


def _fact(shown: Shown, change: Change, outcome: str, effect: Effect) -> EffectFacts:
    return EffectFacts(
        method=effect.method,
        outcome=outcome,
        before=shown.versions[change.before],
        after=shown.versions[change.after],
        start=change.first * DAY_MS,
        effect=Interval.of(effect.value, effect.low, effect.high),
        plain=rounded(effect.plain),
        detectable=rounded(effect.detectable),
        people=effect.people,
        others=effect.others,
        crossed=effect.crossed,
        shortcomings=effect.shortcomings,
    )
