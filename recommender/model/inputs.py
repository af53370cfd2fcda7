"""What the model reads: items by their words and their id, actions, and when they happened.

Shape letters: B sequences, T events in the longest of them, S = T + 1 states (the start token
first), I items of the catalogue, V whitened text components, D width of the model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recommender.model.padded import Padded
from recommender.model.times import BUCKETS, HOURS, WEEKDAYS, duration_buckets, hours, weekdays

# Standard deviation of fresh embeddings, relative to a residual stream of unit variance.
_SMALL = 0.02


class ItemTower(nn.Module):
    """Turns items into vectors: projected text plus an id part that only known items have.

    Both ends of the model use the same tower: the history's items are read through it and the
    catalogue's items are scored by it. An item that was not seen in training has no id part, so
    its text alone must do; dropping the id part of a random share of items in every training
    step (`id_dropout`) makes the text able to.

    Args:
        text_IV: whitened text vectors, frozen; a row of zeros is an item without words.
        known_I: whether the item was seen in training.
        width: D.
        id_dropout: share of the items whose id part is dropped in a training step.
    """

    text_IV: Tensor
    known_I: Tensor

    def __init__(self, text_IV: Tensor, known_I: Tensor, width: int, id_dropout: float) -> None:
        super().__init__()
        self.register_buffer("text_IV", text_IV)
        self.register_buffer("known_I", known_I.to(torch.float32))
        self.id_dropout = id_dropout
        self.projection_DV = nn.Parameter(torch.empty(width, text_IV.shape[1]))
        self.id_ID = nn.Parameter(torch.empty(len(text_IV), width))
        nn.init.normal_(self.projection_DV, std=text_IV.shape[1] ** -0.5)
        nn.init.normal_(self.id_ID, std=_SMALL)

    def forward(self) -> Tensor:
        """Return the vectors of the whole catalogue, (I, D)."""
        keep_I = self.known_I
        if self.training and self.id_dropout:
            keep_I = keep_I * (torch.rand_like(keep_I) >= self.id_dropout)
        return nn.functional.linear(self.text_IV, self.projection_DV) + keep_I[:, None] * self.id_ID


class EventInputs(nn.Module):
    """Sums up what is known of an event: item, action, time since the last one, hour, weekday.

    Args:
        actions: number of event types.
        width: D.
        time: whether when it happened is known.
    """

    def __init__(self, actions: int, width: int, *, time: bool) -> None:
        super().__init__()
        self.start_D = nn.Parameter(torch.randn(width) * _SMALL)
        self.action = _embedding(actions + 1, width)
        self.gap = _embedding(BUCKETS, width) if time else None
        self.hour = _embedding(HOURS, width) if time else None
        self.weekday = _embedding(WEEKDAYS, width) if time else None

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
        start_B1D = self.start_D.expand(len(histories), 1, -1)
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
