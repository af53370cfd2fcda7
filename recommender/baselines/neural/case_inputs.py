"""What DIN and xDeepFM read, the same for both: what the unified model's head is given.

Items by id, text and attributes; events by item, type, hour, weekday and how long ago; the request
by hour, weekday and time since the last event; and what user and item have had to do with each
other, with the item's popularity (`recommender.model.target.Crosses`).

Shape letters: B requests, T events, K items asked about, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recommender.baselines.neural.items import ItemFacts, ItemVectors, small_embedding
from recommender.baselines.neural.ranking_cases import Asked
from recommender.model.target import Buckets, Crosses, Questions
from recommender.model.times import BUCKETS, HOURS, WEEKDAYS, duration_buckets, hours, weekdays

_BUCKETS = Buckets()


@dataclass(frozen=True)
class Inputs:
    """A batch as vectors.

    Attributes:
        candidates: (B, K, D).
        events: (B, T, D); zeros at padded places.
        inside: 1 at events, 0 at padded places, (B, T).
        actions: event-type codes, 0 at padded places, (B, T).
        crossed: of each candidate, (B, K, D).
        hour, weekday, gap: of the request, (B, D) each.
    """

    candidates: Tensor
    events: Tensor
    inside: Tensor
    actions: Tensor
    crossed: Tensor
    hour: Tensor
    weekday: Tensor
    gap: Tensor


@dataclass(frozen=True)
class Clock:
    """Which times of a log are those of a clock, rather than an order alone.

    Attributes:
        events: those of events (`model.event_time`).
        requests: those of asking (`model.request_time`).
    """

    events: bool = True
    requests: bool = True


class CaseInputs(nn.Module):
    """Looks up what is read of a request and of the items asked about.

    Args:
        facts: of the items.
        actions: number of event types.
        width: D.
        clock: which times are true ones; what others would tell is nought.
    """

    def __init__(
        self, facts: ItemFacts, actions: int, width: int, clock: Clock | None = None
    ) -> None:
        super().__init__()
        clock = clock or Clock()

        def read(size: int, *, told: bool) -> nn.Module | None:
            return small_embedding(size, width) if told else None

        self.items = ItemVectors(facts, width)
        self.action = small_embedding(actions + 1, width)
        self.ago = read(BUCKETS, told=clock.events and clock.requests)
        self.event_hour = read(HOURS, told=clock.events)
        self.event_weekday = read(WEEKDAYS, told=clock.events)
        self.crosses = Crosses(width, actions, facts.latest_IF.shape[1], time=clock.requests)
        self.hour = read(HOURS, told=clock.requests)
        self.weekday = read(WEEKDAYS, told=clock.requests)
        self.gap = read(BUCKETS, told=clock.requests)

    def forward(self, asked: Asked, items_ID: Tensor) -> Inputs:
        """Return the vectors.

        Args:
            asked: the requests.
            items_ID: the item vectors.
        """
        events, now_B = asked.events, asked.now
        inside_BT = (events.actions > 0).to(items_ID.dtype)
        events_BTD = nn.functional.embedding(events.items, items_ID) + self.action(events.actions)
        if self.ago is not None:
            events_BTD = events_BTD + self.ago(duration_buckets(now_B[:, None] - events.times))
        if self.event_hour is not None and self.event_weekday is not None:
            hour_BTD = self.event_hour(hours(events.times))
            events_BTD = events_BTD + hour_BTD + self.event_weekday(weekdays(events.times))
        empty_B = ~inside_BT.any(dim=1)
        gap_B = torch.zeros_like(now_B)
        if events.events:
            # The last time is repeated at padded places.
            gap_B = duration_buckets(now_B - events.times[:, -1]).masked_fill(empty_B, 0)
        questions = Questions(
            item=asked.items,
            row=asked.items,
            position=inside_BT.sum(dim=1, keepdim=True).long(),
            now=now_B[:, None],
            popularity=asked.popularity,
        )
        nothing_BD = items_ID.new_zeros(len(now_B), items_ID.shape[1])

        def looked_up(embedding: nn.Module | None, code_B: Tensor) -> Tensor:
            return nothing_BD if embedding is None else embedding(code_B)

        return Inputs(
            candidates=nn.functional.embedding(asked.items, items_ID),
            events=events_BTD * inside_BT[:, :, None],
            inside=inside_BT,
            actions=events.actions,
            crossed=self.crosses(questions, events, _BUCKETS),
            hour=looked_up(self.hour, hours(now_B)),
            weekday=looked_up(self.weekday, weekdays(now_B)),
            gap=looked_up(self.gap, gap_B),
        )
