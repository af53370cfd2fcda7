"""What the model answers of the catalogue: a query for it, popularity, a bonus for repeats.

Shape letters: C contexts (requests), I items, D width, F popularity features,
B sequences, T events, P (context, item) pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recommender.model.blocks import DISTANCES, FeedForward, distance_buckets
from recommender.model.inputs import RequestInputs
from recommender.model.layers import RMSNorm, looked_up
from recommender.model.times import BUCKETS, duration_buckets

COUNTS = 16
"""Buckets of how often an item occurred."""

_CELLS_AT_ONCE = 2**22
"""Contexts times events that are looked at together."""


@dataclass(frozen=True)
class Contexts:
    """Moments of asking, within a batch of sequences.

    Attributes:
        row: the sequence, (C,) int64.
        position: how many of its events lie strictly before the moment (0: none), (C,) int64.
        now: UTC milliseconds, (C,) int64.
        surface: code of where the answer will be shown, (C,) int64; None: not known.
    """

    row: Tensor
    position: Tensor
    now: Tensor
    surface: Tensor | None = None

    def __len__(self) -> int:
        return len(self.now)

    def of(self, rows: Tensor) -> Contexts:
        """Return some of the contexts."""
        surface = None if self.surface is None else self.surface[rows]
        return Contexts(self.row[rows], self.position[rows], self.now[rows], surface)

    def last(self, times_BT: Tensor) -> Tensor:
        """Return the time of the last event before each moment; any where there is none, (C,)."""
        return (
            self.now
            if not times_BT.shape[1]
            else times_BT[self.row, (self.position - 1).clamp(min=0)]
        )


@dataclass(frozen=True)
class Pairs:
    """The distinct items in the history of each context.

    Attributes:
        context: rows of the contexts, ascending, (P,) int64.
        item: catalogue rows, (P,) int64.
        event: the item's last event before the context, (P,) int64, a place in its sequence.
        count: its events before the context, (P,) int64.
    """

    context: Tensor
    item: Tensor
    event: Tensor
    count: Tensor

    @classmethod
    def of(cls, items_BT: Tensor, contexts: Contexts) -> Pairs:
        """Find them.

        Args:
            items_BT: catalogue rows; padded places lie at or behind every context's position.
            contexts: the moments.
        """
        next_BT, count_BT = _met(items_BT)
        context_P, event_P = _standing(next_BT, count_BT, contexts)
        row_P = contexts.row[context_P]
        return cls(context_P, items_BT[row_P, event_P], event_P, count_BT[row_P, event_P])


def _met(items_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the item of each event comes next, T if nowhere, and how often it has come.

    Events of one item are brought together by sorting: to compare each event with each other one
    would take T times the memory.

    Args:
        items_BT: catalogue rows.

    Returns:
        (B, T) each; an event is counted itself.
    """
    events = items_BT.shape[1]
    sorted_BT, order_BT = items_BT.sort(dim=1, stable=True)
    again_BU = sorted_BT[:, 1:] == sorted_BT[:, :-1]
    places_T = torch.arange(events, device=items_BT.device)
    next_BT = torch.full_like(order_BT, events)
    next_BT.scatter_(1, order_BT[:, :-1], torch.where(again_BU, order_BT[:, 1:], events))
    first_BT = places_T.expand_as(order_BT).clone()
    first_BT[:, 1:].masked_fill_(again_BU, 0)
    count_BT = places_T + 1 - first_BT.cummax(dim=1).values
    return next_BT, torch.empty_like(order_BT).scatter_(1, order_BT, count_BT)


def _standing(next_BT: Tensor, count_BT: Tensor, contexts: Contexts) -> tuple[Tensor, Tensor]:
    """Return the contexts, and in each the events that stand for their items, (P,) each.

    An event stands for its item if the item's next event is not before the context.

    Args:
        next_BT: from `_met`.
        count_BT: likewise.
        contexts: the moments.
    """
    events = next_BT.shape[1]
    places_T = torch.arange(events, device=next_BT.device)

    def among(some: slice) -> tuple[Tensor, Tensor]:
        position_C1 = contexts.position[some, None]
        stands_CT = (places_T < position_C1) & (next_BT[contexts.row[some]] >= position_C1)
        context_P, event_P = stands_CT.nonzero(as_tuple=True)
        return context_P, event_P

    step = max(1, _CELLS_AT_ONCE // max(1, events))
    if len(contexts) <= step:
        return among(slice(None))
    # With long histories all contexts at once would take many times the room of what is found, so
    # how many of them each context has is counted first: as many as events that were an item's
    # first.
    distinct_BS = nn.functional.pad((count_BT == 1).cumsum(dim=1), (1, 0))
    each_C = distinct_BS[contexts.row, contexts.position]
    end_C = each_C.cumsum(dim=0)
    context_P = torch.arange(len(contexts), device=next_BT.device).repeat_interleave(each_C)
    event_P = torch.empty_like(context_P)
    done = 0
    for start in range(0, len(contexts), step):
        stop = min(start + step, len(contexts))
        upto = int(end_C[stop - 1])
        event_P[done:upto] = among(slice(start, stop))[1]
        done = upto
    return context_P, event_P


class RequestHead(nn.Module):
    """Turns the state after the last event, and what is known of the request, into a query.

    Args:
        width: D.
        dropout: on what each part adds.
        request_time: whether the moment of asking counts.
        surfaces: number of surfaces that are told apart; 0: where it is shown does not count.
    """

    def __init__(
        self, width: int, dropout: float, *, request_time: bool, surfaces: int = 0
    ) -> None:
        super().__init__()
        self.inputs = RequestInputs(width) if request_time else None
        self.feed = FeedForward(width, dropout)
        self.norm = RMSNorm(width)
        self.surface = nn.Embedding(surfaces + 1, width) if surfaces else None
        if self.surface is not None:
            nn.init.zeros_(self.surface.weight)

    def forward(self, state_CD: Tensor, times_BT: Tensor, contexts: Contexts) -> Tensor:
        """Return the queries, (C, D)."""
        if self.inputs is not None:
            last_C = contexts.last(times_BT)
            state_CD = state_CD + self.inputs(contexts.now, last_C, contexts.position == 0)
        if self.surface is not None:
            unknown = torch.zeros_like(contexts.position)
            state_CD = state_CD + self.surface(
                unknown if contexts.surface is None else contexts.surface
            )
        query_CD: Tensor = self.norm(self.feed(state_CD))
        return query_CD


class Popularity(nn.Module):
    """Where a query starts from: how popular each item is, ever and lately, plus a learned rest.

    An item that was never seen in training has the floor that smoothed counts give to a count
    of nought, and no learned rest.

    Args:
        popularity_IF: log popularity of each item as of the cut, at several memory lengths.
        known_I: whether the item was seen in training.

    Attributes:
        sparse: whether, in training, the gradient of the rest has only the rows asked for.
        elsewhere: returns the rest of rows where processes share it out; None: it is here.
    """

    popularity_IF: Tensor
    known_I: Tensor

    def __init__(self, popularity_IF: Tensor, known_I: Tensor) -> None:
        super().__init__()
        items, features = popularity_IF.shape
        self.register_buffer("popularity_IF", popularity_IF)
        # A tensor of its own: tower and popularity may be told of different items.
        self.register_buffer("known_I", known_I.to(torch.float32, copy=True))
        self.weight_F = nn.Parameter(torch.full((features,), 1 / features))
        self.rest_I = nn.Parameter(torch.zeros(items))
        self.sparse = False
        self.elsewhere: Callable[[Tensor], Tensor] | None = None

    def forward(self, popularity_XNF: Tensor | None = None, rows_N: Tensor | None = None) -> Tensor:
        """Return the logits of the catalogue as of the cut, (I,).

        Args:
            popularity_XNF: the popularity at other moments, of the items `rows_N`.
            rows_N: catalogue rows.

        Returns:
            (I,); with arguments (X, N).
        """
        if popularity_XNF is None or rows_N is None:
            return self.popularity_IF @ self.weight_F + self.known_I * self.rest_I
        sparse = self.sparse and self.training
        if self.elsewhere is not None:
            rest_N = self.elsewhere(rows_N)
        else:
            rest_N = self.rest_I.gather(0, rows_N, sparse_grad=sparse)
        return popularity_XNF @ self.weight_F + rest_N * self.known_I[rows_N]


class Repeats(nn.Module):
    """What being in the history already adds to an item's logit.

    A sum of learned values by time since the item's last event, by events since, and by how
    often it occurred; how much this user repeats and how much this item is repeated are read
    from the query and from the item's vector.

    Args:
        width: D.
    """

    def __init__(self, width: int, *, time: bool) -> None:
        super().__init__()
        self.ago_1N = nn.Parameter(torch.zeros(1, BUCKETS)) if time else None
        self.since_1N = nn.Parameter(torch.zeros(1, DISTANCES))
        self.count_1N = nn.Parameter(torch.zeros(1, COUNTS))
        self.query_D = nn.Parameter(torch.zeros(width))
        self.item_D = nn.Parameter(torch.zeros(width))

    def forward(
        self, pairs: Pairs, contexts: Contexts, times_BT: Tensor, query_CD: Tensor, items_ID: Tensor
    ) -> Tensor:
        """Return what is added to the logits of `pairs`, (P,).

        Args:
            pairs: of the contexts and the items of their histories.
            contexts: the moments.
            times_BT: of the events, UTC milliseconds.
            query_CD: of the contexts.
            items_ID: the item vectors.
        """
        position_P = contexts.position[pairs.context]
        added_P: Tensor = (
            looked_up(self.since_1N, distance_buckets(position_P - 1 - pairs.event))[0]
            + looked_up(self.count_1N, count_buckets(pairs.count))[0]
            + (query_CD @ self.query_D)[pairs.context]
            + (items_ID @ self.item_D)[pairs.item]
        )
        if self.ago_1N is not None:
            last_P = times_BT[contexts.row[pairs.context], pairs.event]
            ago_P = contexts.now[pairs.context] - last_P
            added_P = added_P + looked_up(self.ago_1N, duration_buckets(ago_P))[0]
        return added_P


def count_buckets(counts: Tensor) -> Tensor:
    """Return half octaves of a count, 0 for one."""
    return (2 * torch.log2(counts.to(torch.float32))).long().clamp(max=COUNTS - 1)
