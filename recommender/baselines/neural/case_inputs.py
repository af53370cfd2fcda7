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


class CaseInputs(nn.Module):
    """Looks up what is read of a request and of the items asked about.

    Args:
        facts: of the items.
        actions: number of event types.
        width: D.
    """

    def __init__(self, facts: ItemFacts, actions: int, width: int) -> None:
        super().__init__()
        self.items = ItemVectors(facts, width)
        self.action = small_embedding(actions + 1, width)
        self.ago = small_embedding(BUCKETS, width)
        self.event_hour = small_embedding(HOURS, width)
        self.event_weekday = small_embedding(WEEKDAYS, width)
        self.crosses = Crosses(width, actions, facts.latest_IF.shape[1], time=True)
        self.hour = small_embedding(HOURS, width)
        self.weekday = small_embedding(WEEKDAYS, width)
        self.gap = small_embedding(BUCKETS, width)

    def forward(self, asked: Asked, items_ID: Tensor) -> Inputs:
        """Return the vectors.

        Args:
            asked: the requests.
            items_ID: the item vectors.
        """
        events, now_B = asked.events, asked.now
        inside_BT = (events.actions > 0).to(items_ID.dtype)
        events_BTD = (
            nn.functional.embedding(events.items, items_ID)
            + self.action(events.actions)
            + self.ago(duration_buckets(now_B[:, None] - events.times))
            + self.event_hour(hours(events.times))
            + self.event_weekday(weekdays(events.times))
        )
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
        return Inputs(
            candidates=nn.functional.embedding(asked.items, items_ID),
            events=events_BTD * inside_BT[:, :, None],
            inside=inside_BT,
            actions=events.actions,
            crossed=self.crosses(questions, events, _BUCKETS),
            hour=self.hour(hours(now_B)),
            weekday=self.weekday(weekdays(now_B)),
            gap=self.gap(gap_B),
        )
