"""What each past event adds to a score; the parts add up to what the history adds.

Shape letters: T events, U units that are left out at once (mostly one event), M items that are
asked about, N variants of the history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recommender.explain.occlusion import Bools, Doubles, focused, occluded, scores_of
from recommender.features.sequences import Histories
from recommender.scoring import Scorer

_ONE_BY_ONE, _RUNS = 48, 16
Value = Callable[[Bools], Doubles]
"""Which events there are, (N, T), to scores, (N, M)."""


@dataclass(frozen=True)
class Explanation:
    """Why some items have the scores that they have.

    Attributes:
        scores: with the whole history, (M,).
        base: without any, (M,): what the model tells somebody of whom it knows nothing.
        weights: of each event for each item, (T, M); a column adds up to `scores - base`.
    """

    scores: Doubles
    base: Doubles
    weights: Doubles


def explain(
    scorer: Scorer,
    history: Histories,
    items: NDArray[np.int64],
) -> Explanation:
    """Explain the scores of some items for one history.

    Args:
        scorer: of the model itself (`Model.scorer`).
        history: one, of the events that the model reads (`Histories.recent`).
        items: catalogue rows, (M,).
    """
    scorer, history, items = focused(scorer, history, items)
    unit_T = units(int(history.lengths[0]))
    sizes_U = np.bincount(unit_T)

    def value(keep_NU: Bools) -> Doubles:
        variants = occluded(history, keep_NU[:, unit_T])
        return scores_of(scorer, variants, items, len(scorer.catalogue))

    found = leave_one_out(value, len(sizes_U))
    return replace(found, weights=(found.weights / sizes_U[:, None])[unit_T])


def units(events: int) -> NDArray[np.int64]:
    """Return which events are left out together, (T,), numbered from 0: a bound on the costs.

    The most recent events go one by one. Where there are many, older ones go in runs of neighbours
    that share evenly what the run is worth.

    Args:
        events: T.
    """
    older = max(0, events - _ONE_BY_ONE)
    runs = min(older, _RUNS)
    unit_older = np.arange(older) * runs // max(older, 1)
    return np.concatenate([unit_older, runs + np.arange(events - older)]).astype(np.int64)


def leave_one_out(value: Value, events: int) -> Explanation:
    """Say of each event what is lost without it, and share the rest out evenly.

    What all events are worth together is rarely the sum of these losses: two films of one series
    tell the same, so that either can go. The remainder is shared out evenly, which keeps the order
    of the events by their losses (the equal allocation of non-separable contribution: Moulin 1985,
    The separability axiom and equal-sharing methods). Costs T + 2 histories, all at once.

    Args:
        value: of the history.
        events: T.
    """
    keep_NT = np.concatenate([np.ones((1, events), bool), np.zeros((1, events), bool)])
    if not events:
        scores_NM = value(keep_NT)
        return Explanation(scores_NM[0], scores_NM[0], np.zeros((0, scores_NM.shape[1])))
    scores_NM = value(np.concatenate([keep_NT, ~np.eye(events, dtype=bool)]))
    full_M, base_M, without_TM = scores_NM[0], scores_NM[1], scores_NM[2:]
    lost_TM = full_M - without_TM
    rest_M = (full_M - base_M - lost_TM.sum(axis=0)) / events
    return Explanation(full_M, base_M, lost_TM + rest_M)
