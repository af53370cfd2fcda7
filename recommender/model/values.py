"""How large the number is that an event would carry: a rating, a time of stay.

Shape letters: X any leading shape, M targets, D width, G values, A event types.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recommender.config.ranking import ValueConfig

_STEEPEST = 15.0
"""Largest logarithm of a forecast in units of the mean: beyond it is no forecast, but overflow."""


class ValueHead(nn.Module):
    """Foretells the values of `model.ranking.values`, each as a mean.

    Args:
        values: what is foretold, G of them.
        actions: number of event types, A.
        width: D.
    """

    group_A: Tensor
    center_G: Tensor
    scale_G: Tensor
    low_G: Tensor
    high_G: Tensor

    def __init__(self, values: Sequence[ValueConfig], actions: int, width: int) -> None:
        super().__init__()
        self.values = tuple(values)
        count = len(self.values)
        self.out = nn.Linear(width, count)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("group_A", torch.full((actions,), -1, dtype=torch.int64))
        self.register_buffer("center_G", torch.ones(count))
        self.register_buffer("scale_G", torch.ones(count))
        low = [float("-inf") if v.low is None else v.low for v in self.values]
        high = [float("inf") if v.high is None else v.high for v in self.values]
        self.register_buffer("low_G", torch.tensor(low), persistent=False)
        self.register_buffer("high_G", torch.tensor(high), persistent=False)
        self.gamma = tuple(v.loss == "gamma" for v in self.values)

    def measure(self, types: Sequence[str], values_MG: Tensor) -> None:
        """Take the event types, and mean and deviation of the values, from the training data.

        Args:
            types: the names of the event types, A.
            values_MG: what is learned from; NaN where there is none.
        """
        self.told_of(types, spread_of(values_MG))

    def told_of(self, types: Sequence[str], spread_G4: Tensor) -> None:
        """Take the event types, and mean and deviation of the values.

        Args:
            types: the names of the event types, A.
            spread_G4: of the training data, as `spread_of` tells it.
        """
        for group, value in enumerate(self.values):
            for event in value.events:
                self.group_A[types.index(event)] = group
        for group, (count, mean, deviation, _) in enumerate(spread_G4):
            if count:
                self.center_G[group] = mean
                self.scale_G[group] = deviation
        # A value that is always the same has no deviation, and one of nothing but nought no unit.
        self.scale_G[self.scale_G == 0] = 1.0
        self.center_G[torch.tensor(self.gamma) & (self.center_G == 0)] = 1.0

    def forward(self, hidden_XD: Tensor) -> Tensor:
        """Return forecasts on the scale of the loss, (X, G)."""
        raw_XG: Tensor = self.out(hidden_XD)
        return raw_XG

    def expected(self, raw_XG: Tensor) -> Tensor:
        """Return forecasts in the unit of the values, within their bounds, (X, G)."""
        columns = []
        for group, gamma in enumerate(self.gamma):
            raw_X, center = raw_XG[..., group], self.center_G[group]
            columns.append(
                center * raw_X.clamp(-_STEEPEST, _STEEPEST).exp()
                if gamma
                else center + self.scale_G[group] * raw_X
            )
        expected_XG = torch.stack(columns, dim=-1)
        return torch.minimum(torch.maximum(expected_XG, self.low_G), self.high_G)

    def by_event(self, expected_XG: Tensor) -> Tensor:
        """Return the value of each event type, (X, A); NaN of one that carries none."""
        none_X1 = expected_XG.new_full((*expected_XG.shape[:-1], 1), float("nan"))
        # Group -1 is the last column.
        return torch.cat([expected_XG, none_X1], dim=-1)[..., self.group_A]

    def losses(self, raw_MG: Tensor, values_MG: Tensor) -> Tensor:
        """Return what the forecasts lose, the mean over the targets that have the value, (G,).

        Squared error in units of the deviation. Gamma, with mean μ: y / μ + log μ, y and μ in
        units of the mean of all (half the unit deviance but for what y alone decides: McCullagh &
        Nelder 1989, Generalized linear models, §8.3.3). Both are least where μ is the mean.

        Args:
            raw_MG: from `forward`.
            values_MG: what happened; NaN where there is none.
        """
        columns = []
        for group, gamma in enumerate(self.gamma):
            given_M = ~values_MG[:, group].isnan()
            raw, value = raw_MG[given_M, group], values_MG[given_M, group]
            if gamma:
                raw = raw.clamp(-_STEEPEST, _STEEPEST)
                each = value / self.center_G[group] * torch.exp(-raw) + raw
            else:
                each = (raw - (value - self.center_G[group]) / self.scale_G[group]) ** 2
            columns.append(each.sum() / max(1, len(each)))
        return torch.stack(columns)


def spread_of(values_MG: Tensor) -> Tensor:
    """Return how many of each value there are, mean, deviation, and how many are negative, (G, 4).

    In double precision.

    Args:
        values_MG: NaN where there is none.
    """
    spread_G4 = torch.zeros(values_MG.shape[1], 4, dtype=torch.float64)
    for group, values_M in enumerate(values_MG.T):
        given = values_M[~values_M.isnan()].double()
        if len(given):
            count, negative = given.new_tensor(len(given)), (given < 0).sum().double()
            told = (count, given.mean(), given.std(correction=0), negative)
            spread_G4[group] = torch.stack(told)
    return spread_G4


def joined_spread(spread_LG4: Tensor) -> Tensor:
    """Return what `spread_of` tells of all parts together, (G, 4).

    Args:
        spread_LG4: of each of L parts.
    """
    count_LG, mean_LG, deviation_LG, negative_LG = spread_LG4.unbind(-1)
    count_G = count_LG.sum(dim=0)
    mean_G = (count_LG * mean_LG).sum(dim=0) / count_G.clamp(min=1)
    squares_LG = count_LG * (deviation_LG**2 + (mean_LG - mean_G) ** 2)
    deviation_G = (squares_LG.sum(dim=0) / count_G.clamp(min=1)).sqrt()
    return torch.stack([count_G, mean_G, deviation_G, negative_LG.sum(dim=0)], dim=-1)
