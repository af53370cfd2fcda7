"""Some of the examples: those since a moment, and a few of before.

Shape letters: W windows, C contexts, N item targets, M action targets, G values that are foretold,
P attributes of people.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recommender.features.sequences import Ints
from recommender.training.examples import Examples

Mask = NDArray[np.bool_]


def selected(examples: Examples, keep_C: Mask) -> Examples:
    """Return the examples with some of their contexts, and the windows that hold any of them.

    Args:
        examples: whole.
        keep_C: which contexts stay, at least one, (C,).
    """
    kept_W = np.add.reduceat(keep_C, examples.context_offsets[:-1], dtype=np.int64)
    windows = np.flatnonzero(kept_W)
    offsets = _offsets(kept_W[windows])
    position = examples.position[keep_C]
    targets_C, actions_C = np.diff(examples.item_offsets), np.diff(examples.action_offsets)
    keep_N, keep_M = np.repeat(keep_C, targets_C), np.repeat(keep_C, actions_C)
    # Only the slices of time that are still asked for need their popularity.
    slices, slice_ = np.unique(examples.slice[keep_C], return_inverse=True)
    return replace(
        examples,
        window_start=examples.window_start[windows],
        window_length=np.maximum.reduceat(position, offsets[:-1]),
        context_offsets=offsets,
        position=position,
        now=examples.now[keep_C],
        slice=slice_.astype(np.int64),
        item_offsets=_offsets(targets_C[keep_C]),
        item=examples.item[keep_N],
        weight=examples.weight[keep_N],
        action_offsets=_offsets(actions_C[keep_C]),
        action_item=examples.action_item[keep_M],
        action=examples.action[keep_M],
        value=examples.value[keep_M],
        popularity=examples.popularity[slices],
        surface=None if examples.surface is None else examples.surface[keep_C],
        people=None if examples.people is None else examples.people[windows],
    )


def with_replay(examples: Examples, since: int, replay: float, seed: Ints) -> tuple[Mask, Mask]:
    """Return which contexts are recent, and which earlier ones are learned again, (C,) each.

    Earlier ones are drawn by windows, because all contexts of a window cost one reading of it.

    Args:
        examples: whole.
        since: contexts at or after this moment (UTC milliseconds) are recent.
        replay: earlier contexts, as a multiple of the recent ones; a window's are taken together,
            so there may be some more.
        seed: of the draw.
    """
    recent_C = examples.now >= since
    starts = examples.context_offsets[:-1]
    earlier_W = np.add.reduceat(~recent_C, starts, dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(earlier_W))
    before_W = np.cumsum(earlier_W[order]) - earlier_W[order]
    drawn_W = np.zeros(len(earlier_W), bool)
    drawn_W[order] = before_W < replay * recent_C.sum()
    return recent_C, np.repeat(drawn_W, np.diff(examples.context_offsets)) & ~recent_C


def _offsets(counts: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
