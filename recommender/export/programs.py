"""The entry points as modules of plain tensors, and as `torch.export` programs.

Shape letters: B histories, T events, I items, C candidates, K best items, D width, A event types.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from recommender.export.reading import CatalogueConstants, Reading
from recommender.export.tables import taken
from recommender.model.transformer import UnifiedTransformer

LEAST_EVENTS = 3
"""Programs read at least so many events: shorter histories are padded behind their ends."""

MOST_HISTORIES = 4096
BEST = 100
"""Items that `retrieve` puts in order."""

HISTORY_INPUTS = ("items", "actions", "times", "lengths", "now")


class Retrieve(nn.Module):
    """History → the user's state, the logit of every item, the best items.

    Args:
        reading: of the trained module.
    """

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading

    def forward(
        self, items: Tensor, actions: Tensor, times: Tensor, lengths: Tensor, now: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Answer.

        Args:
            items: catalogue rows, oldest event first, padded with any row, (B, T) int64.
            actions: event-type codes, (B, T) int64.
            times: UTC milliseconds, (B, T) int64.
            lengths: events of each history, 0 … T, (B,) int64.
            now: the moment of asking, UTC milliseconds, (B,) int64.

        Returns:
            the state (B, D); the logits (B, I); the best items (B, K) and their logits (B, K).
        """
        known = self.reading.constants()
        query_BD = asked(self.reading, known, items, actions, times, lengths, now)
        scores_BI = self.reading.scores(known, query_BD, items, times, lengths, now)
        best = scores_BI.topk(min(BEST, known.items_ID.shape[0]), dim=1)
        return query_BD, scores_BI, best.indices, best.values


class Rank(nn.Module):
    """History and candidates → the candidates' logits, and those of what is done with them.

    Args:
        reading: of the trained module.
    """

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading

    def forward(
        self,
        items: Tensor,
        actions: Tensor,
        times: Tensor,
        lengths: Tensor,
        now: Tensor,
        candidates: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Answer; the first five arguments are those of `Retrieve`.

        Args:
            items: as there.
            actions: as there.
            times: as there.
            lengths: as there.
            now: as there.
            candidates: catalogue rows, (B, C) int64.

        Returns:
            the logits (B, C), as `retrieve` gives them; those of the event types (B, C, A).
        """
        reading = self.reading
        known = reading.constants()
        query_BD = asked(reading, known, items, actions, times, lengths, now)
        chosen_BCD = vectors_of(known, candidates)
        scaled_BD = reading.module.scaled(query_BD)
        scores_BC = (chosen_BCD @ scaled_BD[:, :, None])[:, :, 0] + taken(known.base_I, candidates)
        added_BT = reading.repeated(known, query_BD, items, times, lengths, now)
        same_BCT = candidates[:, :, None] == items[:, None, :]
        scores_BC = scores_BC + (same_BCT * added_BT[:, None, :]).sum(dim=2)
        return scores_BC, acted(reading, query_BD, chosen_BCD)


class Actions(nn.Module):
    """A user's state and candidates → the logits of what is done with them.

    Args:
        reading: of the trained module.
    """

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading

    def forward(self, state: Tensor, candidates: Tensor) -> Tensor:
        """Answer.

        Args:
            state: from `Retrieve`, (B, D).
            candidates: catalogue rows, (B, C) int64.

        Returns:
            (B, C, A).
        """
        return acted(self.reading, state, vectors_of(self.reading.constants(), candidates))


@dataclass(frozen=True)
class Entry:
    """One entry point, and what other runtimes call its ends.

    Attributes:
        kind: its module.
        inputs: names.
        outputs: names.
    """

    kind: type[Retrieve] | type[Rank] | type[Actions]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


ENTRIES = {
    "retrieve": Entry(Retrieve, HISTORY_INPUTS, ("state", "scores", "best_items", "best_scores")),
    "rank": Entry(Rank, (*HISTORY_INPUTS, "candidates"), ("scores", "action_logits")),
    "actions": Entry(Actions, ("state", "candidates"), ("action_logits",)),
}


def program(module: UnifiedTransformer, entry: str) -> ExportedProgram:
    """Return an entry point as a `torch.export` program with any batch and any length.

    Args:
        module: trained; it is put into evaluation mode, and its weights are shared.
        entry: one of `ENTRIES`.
    """
    reading = Reading(module.eval())
    batch = Dim("batch", min=1, max=MOST_HISTORIES)
    events = Dim("events", min=LEAST_EVENTS, max=max(LEAST_EVENTS + 1, module.config.history))
    count = Dim("candidates", min=1, max=len(module.tower.text_IV) + 1)
    both, one = {0: batch, 1: events}, {0: batch}
    history = (both, both, both, one, one)
    shapes = {"retrieve": history, "rank": (*history, {0: batch, 1: count})}
    shapes["actions"] = (one, {0: batch, 1: count})
    with torch.no_grad():
        return torch.export.export(
            ENTRIES[entry].kind(reading).eval(),
            _example(module, entry),
            dynamic_shapes=shapes[entry],
        )


def asked(
    reading: Reading,
    known: CatalogueConstants,
    items_BT: Tensor,
    actions_BT: Tensor,
    times_BT: Tensor,
    length_B: Tensor,
    now_B: Tensor,
) -> Tensor:
    """Return the user's state at the moment of asking, (B, D); arguments as in `Retrieve`."""
    x_BSD = reading.inputs(vectors_of(known, items_BT), actions_BT, times_BT)
    state_BD, _ = reading.read(x_BSD, reading.bias(times_BT), length_B)
    return reading.query(state_BD, times_BT, length_B, now_B)


def vectors_of(known: CatalogueConstants, items_BX: Tensor) -> Tensor:
    """Return item vectors, (B, X, D)."""
    return nn.functional.embedding(items_BX, known.items_ID)


def acted(reading: Reading, query_BD: Tensor, items_BCD: Tensor) -> Tensor:
    """Return the logits of the event types for items put in front of the users, (B, C, A)."""
    query_BCD = query_BD[:, None, :].expand(-1, items_BCD.shape[1], -1)
    logits_BCA: Tensor = reading.module.action(query_BCD, items_BCD)
    return logits_BCA


def _example(module: UnifiedTransformer, entry: str) -> tuple[Tensor, ...]:
    # Sizes that are different from each other and from 1, lest one is taken for another.
    batch, events, count = 2, min(LEAST_EVENTS + 1, max(4, module.config.history)), 3
    candidates = torch.zeros(batch, count, dtype=torch.int64)
    if entry == "actions":
        return torch.zeros(batch, module.config.width), candidates
    # Tensors of their own: inputs that are one and the same would be merged.
    items, actions, times = (torch.zeros(batch, events, dtype=torch.int64) for _ in range(3))
    now = torch.zeros(batch, dtype=torch.int64)
    history = (items, actions, times, torch.full((batch,), events), now)
    return history if entry == "retrieve" else (*history, candidates)
