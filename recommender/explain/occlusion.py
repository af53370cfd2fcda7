"""Scores of a history with some of its events left out.

Shape letters: N variants, T events, M items that are asked about, I items of the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from recommender.features.sequences import Histories
from recommender.ranking import Scores
from recommender.scoring import Scorer

if TYPE_CHECKING:
    from recommender.model.scorer import TransformerScorer

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
_SCORES_AT_ONCE = 2**23


def occluded(history: Histories, keep_NT: Bools) -> Histories:
    """Return variants of one history.

    Args:
        history: one, of T events.
        keep_NT: which events each variant has; the others never happened.
    """
    variant, event = np.nonzero(keep_NT)
    del variant
    offsets = np.concatenate([[0], np.cumsum(keep_NT.sum(axis=1))]).astype(np.int64)
    return Histories(
        history.items[event],
        history.actions[event],
        history.times[event],
        history.values[event],
        offsets,
        np.repeat(history.now, len(keep_NT)),
        # Who asks, and where, is told to every variant: it is not the history.
        people=None if history.people is None else history.people * len(keep_NT),
        surfaces=None if history.surfaces is None else history.surfaces[event],
        surface=None if history.surface is None else np.repeat(history.surface, len(keep_NT)),
    )


def focused(
    scorer: Scorer, history: Histories, items: NDArray[np.int64]
) -> tuple[Scorer, Histories, NDArray[np.int64]]:
    """Return a scorer of no more items than an explanation needs, where there is such a thing.

    The scores are those of the whole catalogue; a Transformer only need not work out the others.

    Args:
        scorer: of the model itself.
        history: one.
        items: catalogue rows, (M,).

    Returns:
        scorer, history and items, in terms of the scorer's own catalogue.
    """
    if scorer.kind != "transformer":
        return scorer, history, items
    from recommender.model.extended import part_of

    rows = np.unique(np.concatenate([history.items, items]))
    read_T = np.searchsorted(rows, history.items).astype(np.int32)
    small = part_of(cast("TransformerScorer", scorer), rows)
    return small, replace(history, items=read_T), np.searchsorted(rows, items)


def scores_of(
    scorer: Scores, variants: Histories, items_M: NDArray[np.int64], size: int
) -> Doubles:
    """Return the scores of some items for every variant, (N, M).

    Args:
        scorer: of the model itself.
        variants: N histories.
        items_M: catalogue rows.
        size: I; memory is bounded by it.
    """
    block = max(1, _SCORES_AT_ONCE // size)
    parts = [scorer.scores(some)[:, items_M] for some in variants.batches(block)]
    return np.concatenate(parts).astype(np.float64)


def joined(histories: Sequence[Histories]) -> Histories:
    """Return several batches, all of which tell or don't tell people and surfaces, as one."""
    lengths = np.concatenate([each.lengths for each in histories])
    return Histories(
        np.concatenate([each.items for each in histories]),
        np.concatenate([each.actions for each in histories]),
        np.concatenate([each.times for each in histories]),
        np.concatenate([each.values for each in histories]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([each.now for each in histories]),
        people=None
        if any(each.people is None for each in histories)
        else tuple(person for each in histories for person in each.people or ()),
        surfaces=_codes([each.surfaces for each in histories]),
        surface=_codes([each.surface for each in histories]),
    )


def _codes(parts: Sequence[NDArray[np.int8] | None]) -> NDArray[np.int8] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
