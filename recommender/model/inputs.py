"""What the model reads: items by their words and their id, actions, and when they happened.

Shape letters: B sequences, T events in the longest of them, S = T + 1 states (the start token
first), I items of the catalogue, N some of them, V whitened text components and other columns,
P attributes of people, X id buckets, D width of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from recommender.model.padded import SURFACE_STEP, Padded
from recommender.model.times import BUCKETS, HOURS, WEEKDAYS, duration_buckets, hours, weekdays

# Standard deviation of fresh embeddings, relative to a residual stream of unit variance.
_SMALL = 0.02


class ItemTower(nn.Module):
    """Turns items into vectors: projected text plus an id part that only known items have.

    Both ends of the model use the same tower: the history's items are read through it and the
    catalogue's items are scored by it. An item that was not seen in training has no id part, so
    its text alone must do; dropping the id part of a random share of items in every training
    step (`id_dropout`) makes the text able to.

    Where ids are hashed, the id part is the sum of two rows of a table of X: two items rarely share
    both (Tito Svenstrup et al. 2017, "Hash embeddings for efficient word representations").

    Args:
        text_IV: whitened text vectors, and other columns, frozen; a row of zeros is an item of
            which nothing is said.
        known_I: whether the item was seen in training.
        width: D.
        id_dropout: share of the items whose id part is dropped in a training step.
        buckets_I2: rows of the id table that each item has (`id_buckets`), int64; None: each item
            has one of its own.
        buckets: X, where ids are hashed.

    Attributes:
        sparse: whether, in training, the gradient of the id table has the rows that were asked for
            and no others. What is asked for then are rows, not the catalogue.
        elsewhere: returns rows of the id table where processes share it out; None: it is here.
    """

    text_IV: Tensor
    known_I: Tensor
    buckets_I2: Tensor | None

    def __init__(
        self,
        text_IV: Tensor,
        known_I: Tensor,
        width: int,
        id_dropout: float,
        buckets_I2: Tensor | None = None,
        buckets: int = 0,
    ) -> None:
        super().__init__()
        self.register_buffer("text_IV", text_IV)
        # A tensor of its own: tower and popularity may be told of different items.
        self.register_buffer("known_I", known_I.to(torch.float32, copy=True))
        self.register_buffer("buckets_I2", buckets_I2)
        self.id_dropout = id_dropout
        self.sparse = False
        self.elsewhere: Callable[[Tensor], Tensor] | None = None
        rows = len(text_IV) if buckets_I2 is None else buckets
        self.projection_DV = nn.Parameter(torch.empty(width, text_IV.shape[1]))
        self.id_ID = nn.Parameter(torch.empty(rows, width))
        nn.init.normal_(self.projection_DV, std=text_IV.shape[1] ** -0.5)
        nn.init.normal_(self.id_ID, std=_SMALL)

    def kept(self, rows_N: Tensor | None = None) -> Tensor:
        """Return 1 for items whose id part counts and 0 for others, (I,) or (N,).

        Args:
            rows_N: catalogue rows; in training the id part of each is dropped by itself, so ask
                for a row once.
        """
        keep_N = self.known_I if rows_N is None else self.known_I[rows_N]
        if self.training and self.id_dropout:
            keep_N = keep_N * (torch.rand_like(keep_N) >= self.id_dropout)
        return keep_N

    def forward(self, rows_N: Tensor | None = None, keep_N: Tensor | None = None) -> Tensor:
        """Return the vectors of the whole catalogue, (I, D), or of some items, (N, D).

        Args:
            rows_N: as for `kept`.
            keep_N: what that returned, where somebody else has to know it, too.
        """
        text_NV = self.text_IV if rows_N is None else self.text_IV[rows_N]
        if keep_N is None:
            keep_N = self.kept(rows_N)
        text_ND = nn.functional.linear(text_NV, self.projection_DV)
        return text_ND + keep_N[:, None] * self.id_parts(rows_N)

    def words(self, rows_X: Tensor) -> Tensor:
        """Return what is said of items, their vectors without an id part, (X, D)."""
        text_XV = nn.functional.embedding(rows_X, self.text_IV)
        return nn.functional.linear(text_XV, self.projection_DV)

    def id_parts(self, rows_N: Tensor | None) -> Tensor:
        """Return the id parts of items, known ones or not, (N, D); arguments as `forward`."""
        sparse = self.sparse and self.training
        if self.elsewhere is not None and rows_N is not None:
            return self.elsewhere(rows_N)
        if self.buckets_I2 is None:
            if rows_N is None:
                return self.id_ID
            if sparse:
                return nn.functional.embedding(rows_N, self.id_ID, sparse=True)
            return self.id_ID[rows_N]
        buckets_N2 = self.buckets_I2 if rows_N is None else self.buckets_I2[rows_N]
        ids_ND: Tensor = nn.functional.embedding(buckets_N2, self.id_ID, sparse=sparse).sum(dim=1)
        return ids_ND


class EventTypes(nn.Embedding):
    """What was done and, where surfaces are told apart, where.

    Args:
        actions: number of event types.
        surfaces: number of surfaces; 0: they are not read.
        width: D.
    """

    def __init__(self, actions: int, surfaces: int, width: int) -> None:
        super().__init__(actions + 1, width)
        nn.init.normal_(self.weight, std=_SMALL)
        self.surface = _embedding(surfaces + 1, width) if surfaces else None

    def forward(self, codes: Tensor) -> Tensor:
        """Return the vectors of codes as in `Padded.actions`, (…, D)."""
        if self.surface is None:
            return super().forward(codes)
        where = torch.div(codes, SURFACE_STEP, rounding_mode="floor")
        vectors: Tensor = super().forward(codes % SURFACE_STEP) + self.surface(where)
        return vectors


class PersonInputs(nn.Module):
    """What is known of a person, added to the token that every history begins with.

    Args:
        sizes: codes of each attribute, 0 ("unknown") among them, (P,).
        width: D.
        dropout: share of the people of whom a training step knows nothing, so that the model can
            answer those of whom nothing is known.
    """

    first_P: Tensor

    def __init__(self, sizes: Sequence[int], width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.table = _embedding(sum(sizes), width)
        first = [sum(sizes[:place]) for place in range(len(sizes))]
        self.register_buffer("first_P", torch.tensor(first), persistent=False)

    def forward(self, people_BP: Tensor) -> Tensor:
        """Return one vector per person, (B, D)."""
        if self.training and self.dropout:
            known_B1 = torch.rand(len(people_BP), 1, device=people_BP.device) >= self.dropout
            people_BP = people_BP * known_B1
        vectors_BPD: Tensor = self.table(people_BP + self.first_P)
        return vectors_BPD.sum(dim=1)


class EventInputs(nn.Module):
    """Sums up what is known of an event: item, action, time since the last one, hour, weekday.

    Args:
        actions: number of event types.
        width: D.
        time: whether when it happened is known.
        surfaces: number of surfaces that are told apart.
        people: what is read of whoever asks; None: nothing.
    """

    def __init__(
        self,
        actions: int,
        width: int,
        *,
        time: bool,
        surfaces: int = 0,
        people: PersonInputs | None = None,
    ) -> None:
        super().__init__()
        self.start_D = nn.Parameter(torch.randn(width) * _SMALL)
        self.action = EventTypes(actions, surfaces, width)
        self.gap = _embedding(BUCKETS, width) if time else None
        self.hour = _embedding(HOURS, width) if time else None
        self.weekday = _embedding(WEEKDAYS, width) if time else None
        self.person = people

    def start(self, count: int, people_BP: Tensor | None) -> Tensor:
        """Return the token that every history begins with, (B, 1, D).

        Args:
            count: B.
            people_BP: codes of `recommender.model.people`; None: nothing is known of anybody.
        """
        start_B1D = self.start_D.expand(count, 1, -1)
        if self.person is None:
            return start_B1D
        if people_BP is None:
            people_BP = self.person.first_P.new_zeros(count, len(self.person.first_P))
        person_BD: Tensor = self.person(people_BP)
        return start_B1D + person_BD[:, None, :]

    def forward(self, items_ID: Tensor, histories: Padded) -> Tensor:
        """Return the inputs of the first block, the learned start token first, (B, S, D).

        Args:
            items_ID: the item vectors.
            histories: B of them.
        """
        events_BTD = nn.functional.embedding(histories.items, items_ID) + self.action(
            histories.actions
        )
        if self.gap is not None and self.hour is not None and self.weekday is not None:
            # How long ago the event before the first one lay is not known: bucket 0.
            gaps_BT = nn.functional.pad(duration_buckets(histories.times.diff(dim=1)), (1, 0))
            events_BTD = (
                events_BTD
                + self.gap(gaps_BT[:, : histories.events])
                + self.hour(hours(histories.times))
                + self.weekday(weekdays(histories.times))
            )
        start_B1D = self.start(len(histories), histories.people)
        return torch.cat([start_B1D, events_BTD], dim=1)


class RequestInputs(nn.Module):
    """What is known of a request besides the history: how long ago that ended, hour, weekday.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gap = _embedding(BUCKETS, width)
        self.hour = _embedding(HOURS, width)
        self.weekday = _embedding(WEEKDAYS, width)

    def forward(self, now_C: Tensor, last_C: Tensor, empty_C: Tensor) -> Tensor:
        """Return one vector per request, (C, D).

        Args:
            now_C: the moment of asking, UTC milliseconds.
            last_C: the moment of the last event; anything where there is none.
            empty_C: whether there is none.
        """
        gaps_C = duration_buckets(now_C - last_C).masked_fill(empty_C, 0)
        known_CD: Tensor = (
            self.gap(gaps_C) + self.hour(hours(now_C)) + self.weekday(weekdays(now_C))
        )
        return known_CD


def _embedding(count: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(count, width)
    nn.init.normal_(embedding.weight, std=_SMALL)
    return embedding
