"""DIN: the history is read in the light of the item asked about (Zhou et al. 2018).

An activation unit weighs every event by a small network over event, candidate, their difference
and their product; the weighted events are summed, and not normalised, so that the intensity of an
interest is kept (§4.3). Units are Dice (§5.2): a gate by where a value lies in its batch's spread.

Shape letters: B requests, K items asked about, T events, D width, H hidden units, A event types.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from recommender.artifact import Model
from recommender.baselines.neural.case_inputs import Clock, Inputs
from recommender.baselines.neural.items import ItemFacts
from recommender.baselines.neural.ranker import Ranker, RankingModule
from recommender.config import Config
from recommender.config.neural_rivals import NeuralRivalsConfig
from recommender.features.dataset import Dataset
from recommender.split import Fold

_UNIT = (80, 40)
_DEEP = (200, 80)


class Dice(nn.Module):
    """A rectifier whose bend lies where the batch's values lie (Zhou et al. 2018, eq. 5).

    `p(x) · x + (1 - p(x)) · α · x` with `p` the sigmoid of the standardised value.

    Args:
        units: H.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.spread = nn.BatchNorm1d(units, eps=1e-6, affine=False)
        self.alpha_H = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        """Return the units' answers, (N, H)."""
        gate = torch.sigmoid(self.spread(x))
        return gate * x + (1 - gate) * self.alpha_H * x


class ActivationUnit(nn.Module):
    """Says how much each event matters to each candidate.

    The first layer over [event, candidate, event - candidate, event × candidate] is computed by
    parts, which is the same sum: the parts of the event and of the candidate are needed once.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.event = nn.Linear(width, _UNIT[0])
        self.candidate = nn.Linear(width, _UNIT[0], bias=False)
        self.both = nn.Linear(width, _UNIT[0], bias=False)
        self.rest = nn.Sequential(nn.Sigmoid(), nn.Linear(*_UNIT), nn.Sigmoid())
        self.out = nn.Linear(_UNIT[1], 1)

    def forward(self, events_BTD: Tensor, candidates_BKD: Tensor) -> Tensor:
        """Return the weights, unbounded, (B, K, T)."""
        product_BKTD = events_BTD[:, None] * candidates_BKD[:, :, None]
        hidden_BKTH = (
            self.both(product_BKTD)
            + self.event(events_BTD)[:, None]
            + self.candidate(candidates_BKD)[:, :, None]
        )
        weights_BKT: Tensor = self.out(self.rest(hidden_BKTH))[..., 0]
        return weights_BKT


class DINModule(RankingModule):
    """The network; arguments as for every ranker."""

    def __init__(
        self,
        config: NeuralRivalsConfig,
        facts: ItemFacts,
        actions: int,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(config, facts, actions, clock)
        self.width = width = config.width
        self.unit = ActivationUnit(width)
        self.deep = nn.Sequential(
            nn.Linear(7 * width, _DEEP[0]),
            Dice(_DEEP[0]),
            nn.Dropout(config.dropout),
            nn.Linear(*_DEEP),
            Dice(_DEEP[1]),
            nn.Dropout(config.dropout),
            nn.Linear(_DEEP[1], actions),
        )

    def held(self, events: int) -> int:
        """Return about how many numbers one pair needs: the activation unit's, per event."""
        return (events + 1) * (self.width + 2 * sum(_UNIT))

    def judged(self, inputs: Inputs) -> Tensor:
        """Return the logits of the farthest event type, (B, K, A)."""
        candidates_BKD, events_BTD = inputs.candidates, inputs.events
        weights_BKT = self.unit(events_BTD, candidates_BKD) * inputs.inside[:, None]
        interest_BKD = weights_BKT @ events_BTD
        count_B1 = inputs.inside.sum(dim=1, keepdim=True).clamp(min=1)
        mean_BKD = (events_BTD.sum(dim=1) / count_B1)[:, None].expand_as(candidates_BKD)
        request_BKD = (inputs.hour + inputs.weekday + inputs.gap)[:, None].expand_as(candidates_BKD)
        read_BKN = torch.cat(
            [
                candidates_BKD,
                interest_BKD,
                interest_BKD * candidates_BKD,
                mean_BKD,
                mean_BKD * candidates_BKD,
                request_BKD,
                inputs.crossed,
            ],
            dim=-1,
        )
        logits: Tensor = self.deep(read_BKN.flatten(0, 1))
        return logits.view(*read_BKN.shape[:2], -1)


class DIN(Ranker):
    """Ranks by DIN."""

    kind: ClassVar[str] = "din"
    network: ClassVar[type[RankingModule]] = DINModule


def fit_din(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train DIN on what lies before the fold's test window."""
    return DIN.fit(dataset, fold, config)
