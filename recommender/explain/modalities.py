"""What an event's item id, its text, its time and its action add to a score.

The Shapley value of these parts as players of a game: what is left of a score when some of them are
hidden in every event of the history. There are at most four, so all 16 coalitions are asked and
the value is exact (Shapley 1953, A value for n-person games); its parts add up to the difference
between everything shown and everything hidden.

Shape letters: N coalitions, T events, M items that are asked about, J parts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from math import factorial

import numpy as np
from numpy.typing import NDArray

from recommender.explain.occlusion import Doubles, focused, occluded, scores_of
from recommender.features.sequences import Histories
from recommender.scoring import Scorer

REST = "events"
"""That there are these events at all, with everything hidden that can be hidden."""

_ITEM_PARTS = ("item_id", "text")
_EVENT_PARTS = ("action", "time")


@dataclass(frozen=True)
class _Hidden:
    """A history with parts of its events hidden."""

    history: Histories
    plain_action: int

    def without(self, action: bool, time: bool) -> Histories:
        """Hide the action (all the same, plain one), the time (all just now), or both."""
        changed = self.history
        if action:
            plain = np.full_like(changed.actions, self.plain_action)
            changed = replace(changed, actions=plain)
        if time:
            changed = replace(changed, times=np.full_like(changed.times, changed.now[0] - 1))
        return changed


def modalities(
    scorer: Scorer, history: Histories, items: NDArray[np.int64], plain_action: int
) -> dict[str, Doubles]:
    """Return what each part of the events adds to the scores of some items.

    Args:
        scorer: of the model itself.
        history: one, of the events that the model reads.
        items: catalogue rows, (M,).
        plain_action: code of the type that every event has where actions are hidden.

    Returns:
        by part, (M,) each; together they are the score minus that of an empty history. Models
        that don't tell ids and text apart have no such parts: theirs is in `REST`.
    """
    hidden = _Hidden(history, plain_action)
    if scorer.kind == "transformer":
        names: tuple[str, ...] = (*_ITEM_PARTS, *_EVENT_PARTS)
        value, base_M = _of_transformer(scorer, hidden, items)
    else:
        names = _EVENT_PARTS
        value, base_M = _of_any(scorer, hidden, items)
    parts = dict(zip(names, _shapley(value, len(names)), strict=True))
    return {**parts, REST: value[(False,) * len(names)] - base_M}


def _of_any(
    scorer: Scorer, hidden: _Hidden, items: NDArray[np.int64]
) -> tuple[dict[tuple[bool, ...], Doubles], Doubles]:
    coalitions = list(product((False, True), repeat=2))
    variants = [hidden.without(not action, not time) for action, time in coalitions]
    scores_NM = scores_of(
        scorer, _together([*variants, _nothing(hidden)]), items, len(scorer.catalogue)
    )
    return dict(zip(coalitions, scores_NM[:-1], strict=True)), scores_NM[-1]


def _of_transformer(
    scorer: Scorer, hidden: _Hidden, items: NDArray[np.int64]
) -> tuple[dict[tuple[bool, ...], Doubles], Doubles]:
    small, history, asked_M = focused(scorer, hidden.history, items)
    count = len(small.catalogue) // 4
    # Twins come in this order: without id, without text, without both.
    twin = {(True, True): 0, (False, True): 1, (True, False): 2, (False, False): 3}
    coalitions = list(product((False, True), repeat=4))
    variants = []
    for item_id, text, action, time in coalitions:
        read_T = (history.items + count * twin[item_id, text]).astype(np.int32)
        variants.append(replace(hidden.without(not action, not time), items=read_T))
    scores_NM = scores_of(
        small,
        _together([*variants, _nothing(hidden)]),
        asked_M,
        len(small.catalogue),
    )
    return dict(zip(coalitions, scores_NM[:-1], strict=True)), scores_NM[-1]


def _shapley(value: dict[tuple[bool, ...], Doubles], players: int) -> list[Doubles]:
    """Return each player's value: its average gain over all orders of coming in."""
    found = []
    for player in range(players):
        gain = np.zeros_like(next(iter(value.values())))
        for coalition, before in value.items():
            if coalition[player]:
                continue
            size = sum(coalition)
            weight = factorial(size) * factorial(players - size - 1) / factorial(players)
            joined = tuple(place == player or there for place, there in enumerate(coalition))
            gain += weight * (value[joined] - before)
        found.append(gain)
    return found


def _nothing(hidden: _Hidden) -> Histories:
    return occluded(hidden.history, np.zeros((1, int(hidden.history.lengths[0])), bool))


def _together(histories: list[Histories]) -> Histories:
    """Return several batches as one."""
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
        surfaces=_joined([each.surfaces for each in histories]),
        surface=_joined([each.surface for each in histories]),
    )


def _joined(parts: list[NDArray[np.int8] | None]) -> NDArray[np.int8] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None
