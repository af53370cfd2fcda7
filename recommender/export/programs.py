"""The entry points as modules of plain tensors, and as `torch.export` programs.

Shape letters: B histories, T events, I items, C candidates, K best items, D width, A event types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from recommender.export.reading import CatalogueConstants, Reading
from recommender.export.tables import taken
from recommender.model.blocks import KeysValues
from recommender.model.padded import Padded
from recommender.model.ranking import Judged
from recommender.model.transformer import UnifiedTransformer

LEAST_EVENTS = 3
"""Programs read at least so many events: shorter histories are padded behind their ends."""

MOST_HISTORIES = 4096
BEST = 100
"""Items that `retrieve` puts in order."""

ANSWERS = "answers"
"""What histories answer candidates, where those look at them."""

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
    ) -> tuple[Tensor, ...]:
        """Answer.

        Args:
            items: catalogue rows, oldest event first, padded with any row, (B, T) int64.
            actions: event-type codes, (B, T) int64.
            times: UTC milliseconds, (B, T) int64.
            lengths: events of each history, 0 … T, (B,) int64.
            now: the moment of asking, UTC milliseconds, (B,) int64.

        Returns:
            the state (B, D); the logits (B, I); the best items (B, K) and their logits (B, K);
            where candidates look at the history, what it answers them (B, S, 2 D).
        """
        known = self.reading.constants()
        query_BD, answers = asked(self.reading, known, items, actions, times, lengths, now)
        scores_BI = self.reading.scores(known, query_BD, items, times, lengths, now)
        best = scores_BI.topk(min(BEST, known.items_ID.shape[0]), dim=1)
        found = (query_BD, scores_BI, best.indices, best.values)
        return found if answers is None else (*found, _flat(answers))


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
    ) -> tuple[Tensor, ...]:
        """Answer; the first five arguments are those of `Retrieve`.

        Args:
            items: as there.
            actions: as there.
            times: as there.
            lengths: as there.
            now: as there.
            candidates: catalogue rows, (B, C) int64.

        Returns:
            the logits (B, C), as `retrieve` gives them; those of the event types (B, C, A); with
            values, those that are expected of the event types (B, C, A).
        """
        reading = self.reading
        known = reading.constants()
        query_BD, answers = asked(reading, known, items, actions, times, lengths, now)
        chosen_BCE = nn.functional.embedding(candidates, known.compared_IE)
        query_BE = reading.compared(query_BD, items, lengths)
        scores_BC = (chosen_BCE @ query_BE[:, :, None])[:, :, 0] + taken(known.base_I, candidates)
        added_BT = reading.repeated(known, query_BD, items, times, lengths, now)
        same_BCT = candidates[:, :, None] == items[:, None, :]
        scores_BC = scores_BC + (same_BCT * added_BT[:, None, :]).sum(dim=2)
        histories = Padded(items, actions, times)
        judged = reading.judged(known, query_BD, candidates, histories, lengths, now, answers)
        return scores_BC, *_told(reading, judged)


class Actions(nn.Module):
    """A user's state and candidates → the logits of what is done with them.

    Args:
        reading: of the trained module.
    """

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading

    def forward(self, state: Tensor, candidates: Tensor, *history: Tensor) -> tuple[Tensor, ...]:
        """Answer.

        Args:
            state: from `Retrieve`, (B, D).
            candidates: catalogue rows, (B, C) int64.
            history: where candidates look at it, the arguments of `Retrieve`, and what it answers
                them, as `Retrieve` gives that.

        Returns:
            the logits of the event types (B, C, A); with values, those that are expected of the
            event types (B, C, A).
        """
        known = self.reading.constants()
        if not history:
            nothing = torch.zeros(0, dtype=torch.int64)
            judged = self.reading.judged(known, state, candidates, None, nothing, nothing, None)
            return _told(self.reading, judged)
        items, actions, times, lengths, now, answers = history
        heads = self.reading.module.config.heads
        judged = self.reading.judged(
            known,
            state,
            candidates,
            Padded(items, actions, times),
            lengths,
            now,
            _unflat(answers, heads),
        )
        return _told(self.reading, judged)


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


ENTRIES: dict[str, type[Retrieve] | type[Rank] | type[Actions]] = {
    "retrieve": Retrieve,
    "rank": Rank,
    "actions": Actions,
}


def entry_of(module: UnifiedTransformer, name: str) -> Entry:
    """Return one of `ENTRIES` as this module has it.

    Args:
        module: trained.
        name: of the entry point.
    """
    looks, valued = module.action.target is not None, module.action.values is not None
    told = ("action_logits", "values") if valued else ("action_logits",)
    ends: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
        "retrieve": (
            HISTORY_INPUTS,
            ("state", "scores", "best_items", "best_scores", *([ANSWERS] if looks else [])),
        ),
        "rank": ((*HISTORY_INPUTS, "candidates"), ("scores", *told)),
        "actions": (
            ("state", "candidates", *((*HISTORY_INPUTS, ANSWERS) if looks else ())),
            told,
        ),
    }
    return Entry(ENTRIES[name], *ends[name])


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
    both, one, asked_BC = {0: batch, 1: events}, {0: batch}, {0: batch, 1: count}
    history: tuple[Any, ...] = (both, both, both, one, one)
    looks = module.action.target is not None
    rest = ((*history, {0: batch, 1: events + 1}),) if looks else ()
    shapes = {
        "retrieve": history,
        "rank": (*history, asked_BC),
        # Python's `*history` is one argument to the exporter.
        "actions": (one, asked_BC, *rest),
    }
    with torch.no_grad():
        return torch.export.export(
            entry_of(module, entry).kind(reading).eval(),
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
) -> tuple[Tensor, KeysValues | None]:
    """Return the user's state at the moment of asking, and what candidates look up.

    Arguments as in `Retrieve`.

    Returns:
        (B, D); keys and values, where candidates look at the history.
    """
    x_BSD = reading.inputs(vectors_of(known, items_BT), actions_BT, times_BT)
    state_BD, past = reading.read(x_BSD, reading.bias(times_BT), length_B)
    query_BD = reading.query(state_BD, times_BT, length_B, now_B)
    return query_BD, None if reading.target is None else past[-1]


def vectors_of(known: CatalogueConstants, items_BX: Tensor) -> Tensor:
    """Return item vectors, (B, X, D)."""
    return nn.functional.embedding(items_BX, known.items_ID)


def _told(reading: Reading, judged: Judged) -> tuple[Tensor, ...]:
    """Return the logits of the event types and, with values, those expected, (B, C, A) each."""
    head = reading.module.action.values
    if head is None or judged.values is None:
        return (judged.logits,)
    return judged.logits, head.by_event(head.expected(judged.values))


def _flat(answers: KeysValues) -> Tensor:
    """Return keys and values side by side, (B, S, 2 D)."""
    return torch.cat([part.transpose(1, 2).flatten(2) for part in answers], dim=2)


def _unflat(answers_BSE: Tensor, heads: int) -> KeysValues:
    keys_BSD, values_BSD = answers_BSE.chunk(2, dim=2)
    return _by_head(keys_BSD, heads), _by_head(values_BSD, heads)


def _by_head(part_BSD: Tensor, heads: int) -> Tensor:
    batch, states, width = part_BSD.shape
    return part_BSD.view(batch, states, heads, width // heads).transpose(1, 2)


def _example(module: UnifiedTransformer, entry: str) -> tuple[Tensor, ...]:
    # Sizes that are different from each other and from 1, lest one is taken for another.
    batch, events, count = 2, min(LEAST_EVENTS + 1, max(4, module.config.history)), 3
    candidates = torch.zeros(batch, count, dtype=torch.int64)
    # Tensors of their own: inputs that are one and the same would be merged.
    items, actions, times = (torch.zeros(batch, events, dtype=torch.int64) for _ in range(3))
    now = torch.zeros(batch, dtype=torch.int64)
    history = (items, actions, times, torch.full((batch,), events), now)
    if entry == "actions":
        width = module.config.width
        asked_about = (torch.zeros(batch, width), candidates)
        if module.action.target is None:
            return asked_about
        return (*asked_about, *history, torch.zeros(batch, events + 1, 2 * width))
    return history if entry == "retrieve" else (*history, candidates)
