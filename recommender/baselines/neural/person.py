"""What the two-tower and the feed-forward model make of a person: means, not an order.

Shape letters: B sequences, S states, I items, D width, N states asked about, P facts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recommender.baselines.neural.items import small_embedding
from recommender.baselines.neural.sequences import PEOPLE, Moments, Sequences
from recommender.model.times import BUCKETS, HOURS, WEEKDAYS, duration_buckets, hours, weekdays

_COUNTS = 32


def running_means(embedded_BSD: Tensor, sequences: Sequences) -> Tensor:
    """Return the mean of the events read so far, and the last of them, (B, S, 2D).

    Args:
        embedded_BSD: the tokens' vectors; that of the start is the mean and the last of nothing.
        sequences: what was looked up.
    """
    events_BSD = embedded_BSD * sequences.inside[:, :, None]
    count_S = torch.arange(embedded_BSD.shape[1]).clamp(min=1)[:, None]
    means_BSD = (events_BSD.cumsum(dim=1) - events_BSD[:, :1]) / count_S
    means_BSD = torch.cat([events_BSD[:, :1], means_BSD[:, 1:]], dim=1)
    return torch.cat([means_BSD, embedded_BSD], dim=-1)


class PersonTower(nn.Module):
    """A network over the history's mean, its last event, the moment, and what is known besides.

    Args:
        width: D.
        hidden: units of each hidden layer.
        dropout: behind each of them.
    """

    def __init__(self, width: int, hidden: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.hour: nn.Module | None = small_embedding(HOURS, width)
        self.weekday: nn.Module | None = small_embedding(WEEKDAYS, width)
        self.gap: nn.Module | None = small_embedding(BUCKETS, width)
        self.count = small_embedding(_COUNTS, width)
        self.fact = small_embedding(PEOPLE, width)
        sizes, layers = (4 * width, *hidden), []
        for before, after in zip(sizes, hidden, strict=False):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.deep = nn.Sequential(*layers, nn.Linear(sizes[-1], width))

    def without_clock(self) -> None:
        """Read the moment no more: `model.request_time` is off, the log's times are no times."""
        self.hour = self.weekday = self.gap = None

    def forward(self, states_NM: Tensor, moments: Moments) -> Tensor:
        """Return one vector per state, (N, D).

        Args:
            states_NM: by `running_means`, (N, 2D).
            moments: of the states.
        """
        count_N = (2 * torch.log2(1.0 + moments.read)).long().clamp(max=_COUNTS - 1)
        asked_ND: Tensor = self.count(count_N)
        if self.hour is not None and self.weekday is not None and self.gap is not None:
            gap_N = duration_buckets(moments.now - moments.last).masked_fill(moments.read == 0, 0)
            asked_ND = (
                self.hour(hours(moments.now))
                + self.weekday(weekdays(moments.now))
                + self.gap(gap_N)
                + asked_ND
            )
        known_NP1 = (moments.people > 0)[:, :, None]
        facts_ND = (self.fact(moments.people) * known_NP1).sum(dim=1)
        person_ND: Tensor = self.deep(torch.cat([states_NM, asked_ND, facts_ND], dim=-1))
        return person_ND
