"""What an item that is put in front of a user finds in the user's history.

The item asks every past event how much it has to do with it (interest that is activated by the
candidate: Zhou et al. 2018, "Deep interest network", §4.3). The events answer from the body's
states before its last block, which are there anyway and are the same for every candidate.

Shape letters: B histories, N items asked about in each, T events, S = T + 1 states, D width,
H heads, K width of a head, F popularity features, I items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recommender.model.blocks import DISTANCES, KeysValues, distance_buckets
from recommender.model.heads import COUNTS, count_buckets
from recommender.model.layers import RMSNorm, looked_up
from recommender.model.padded import SURFACE_STEP, Padded
from recommender.model.times import BUCKETS, duration_buckets

_SMALL = 0.02


@dataclass(frozen=True)
class Buckets:
    """How durations (ms), numbers of events in between, and counts become rows of tables."""

    durations: Callable[[Tensor], Tensor] = duration_buckets
    distances: Callable[[Tensor], Tensor] = distance_buckets
    counts: Callable[[Tensor], Tensor] = count_buckets


@dataclass(frozen=True)
class Questions:
    """Items put in front of the users of some histories, each at its own moment.

    Attributes:
        item: places among the item vectors at hand, as those of the histories, (B, N) int64.
        row: catalogue rows, (B, N) int64.
        position: events of the history that lie strictly before the moment, (B, N or 1) int64.
        now: the moment, UTC milliseconds, (B, N or 1) int64.
        popularity: log popularity of each item as of the moment, (B, N, F).
    """

    item: Tensor
    row: Tensor
    position: Tensor
    now: Tensor
    popularity: Tensor


class TargetAttention(nn.Module):
    """Attention from candidates to past events, with a bias by how long ago those were.

    Args:
        width: D.
        heads: H.
        time: whether clock time counts.
    """

    def __init__(self, width: int, heads: int, *, time: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm = RMSNorm(width)
        self.ask = nn.Linear(2 * width, width, bias=False)
        self.answer = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.since_HN = nn.Parameter(torch.zeros(heads, DISTANCES))
        self.ago_HN = nn.Parameter(torch.zeros(heads, BUCKETS)) if time else None

    def keys_values(self, stream_BSD: Tensor) -> KeysValues:
        """Return what the states answer with; it does not depend on the candidates.

        Args:
            stream_BSD: the body's states before its last block.
        """
        batch, states, width = stream_BSD.shape
        both = self.answer(self.norm(stream_BSD))
        shaped = both.view(batch, states, 2, self.heads, width // self.heads)
        return shaped[:, :, 0].transpose(1, 2), shaped[:, :, 1].transpose(1, 2)

    def bias(self, questions: Questions, times_BT: Tensor, buckets: Buckets) -> Tensor:
        """Return what is added to the logits, -inf for what had not happened, (B, H, N or 1, S).

        Args:
            questions: of B histories.
            times_BT: of the events, UTC milliseconds.
            buckets: how durations and distances are read.
        """
        places_S = torch.arange(times_BT.shape[1] + 1, device=times_BT.device)
        since_BNS = questions.position[:, :, None] - places_S
        bias_HBNS = _read(self.since_HN, buckets.distances(since_BNS.clamp(min=0)))
        if self.ago_HN is not None:
            ago_BNT = buckets.durations(questions.now[:, :, None] - times_BT[:, None, :])
            # The start token has no time: bucket 0.
            bias_HBNS = bias_HBNS + _read(self.ago_HN, nn.functional.pad(ago_BNT, (1, 0)))
        return bias_HBNS.transpose(0, 1).masked_fill((since_BNS < 0)[:, None], float("-inf"))

    def forward(
        self, query_BND: Tensor, item_BND: Tensor, answers: KeysValues, bias_BHNS: Tensor
    ) -> Tensor:
        """Return what each candidate finds, (B, N, D).

        Args:
            query_BND: the users' states at the moments of asking.
            item_BND: vectors of the candidates.
            answers: from `keys_values`.
            bias_BHNS: from `bias`.
        """
        keys_BHSK, values_BHSK = answers
        batch, count, width = item_BND.shape
        asked_BND = self.ask(torch.cat([query_BND, item_BND], dim=-1))
        asked_BHNK = asked_BND.view(batch, count, self.heads, -1).transpose(1, 2)
        scaled_BHNK = asked_BHNK * (width // self.heads) ** -0.5
        weight_BHNS = (scaled_BHNK @ keys_BHSK.transpose(2, 3) + bias_BHNS).softmax(dim=-1)
        found_BND = (weight_BHNS @ values_BHSK).transpose(1, 2).reshape(batch, count, width)
        interest_BND: Tensor = self.out(found_BND)
        return interest_BND


class Crosses(nn.Module):
    """What else is known of a user and an item together, as one vector.

    How popular the item is; and where it is in the history: how long ago, how many events ago, how
    often, and with which action last.

    Args:
        width: D.
        actions: number of event types.
        features: of popularity, F.
        time: whether clock time counts.
    """

    def __init__(self, width: int, actions: int, features: int, *, time: bool) -> None:
        super().__init__()
        self.popularity = nn.Linear(features, width, bias=False)
        self.since = _embedding(DISTANCES, width)
        self.count = _embedding(COUNTS, width)
        self.action = _embedding(actions + 1, width)
        self.ago = _embedding(BUCKETS, width) if time else None

    def forward(self, questions: Questions, histories: Padded, buckets: Buckets) -> Tensor:
        """Return the vectors, (B, N, D).

        Args:
            questions: of the histories.
            histories: B of them.
            buckets: how durations, distances and counts are read.
        """
        told_BND: Tensor = self.popularity(questions.popularity)
        if not histories.events:
            return told_BND
        places_T = torch.arange(histories.events, device=histories.items.device)
        before_BNT = places_T < questions.position[:, :, None]
        same_BNT = (histories.items[:, None, :] == questions.item[:, :, None]) & before_BNT
        last_BN = (same_BNT * (places_T + 1)).amax(dim=2)
        count_BN = same_BNT.sum(dim=2)
        place_BN = (last_BN - 1).clamp(min=0)
        met_BND = (
            self.since(buckets.distances((questions.position - last_BN).clamp(min=0)))
            + self.count(buckets.counts(count_BN.clamp(min=1)))
            + self.action(histories.actions.gather(1, place_BN) % SURFACE_STEP)
        )
        if self.ago is not None:
            ago_BN = questions.now - histories.times.gather(1, place_BN)
            met_BND = met_BND + self.ago(buckets.durations(ago_BN))
        crossed_BND: Tensor = told_BND + met_BND * (last_BN > 0)[:, :, None].to(met_BND.dtype)
        return crossed_BND


def _read(table_HN: Tensor, index: Tensor) -> Tensor:
    """Return rows of numbers by bucket, (H, *index.shape)."""
    if torch.is_grad_enabled():
        return looked_up(table_HN, index)
    # The form that runtimes are fast at.
    flat = index.reshape(-1)
    return torch.stack([row.index_select(0, flat).view(index.shape) for row in table_HN])


def _embedding(count: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(count, width)
    nn.init.normal_(embedding.weight, std=_SMALL)
    return embedding
