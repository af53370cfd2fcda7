"""A proxy of long-term value: what the first days say of the months that follow.

Ridge regression on early signals (a surrogate index: Athey et al. 2019), validated by time: it is
fitted on people who joined early enough for their whole outcome to lie before the first of the
people it is tested on. A proxy that doesn't beat "the past repeats itself" is of no use, so that
is shown beside it.

Shape letters: U people, F signals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
CAVEATS = (
    "It holds for changes that act through these signals; what harms people in a way they don't "
    "show early, it can't see.",
    "It was learned under yesterday's policies.",
)


@dataclass(frozen=True)
class Proxy:
    """A fitted proxy.

    Attributes:
        weights: per standardised signal, (F,).
        centre, scale: of the signals, (F,) each.
        base: the mean outcome.
    """

    weights: Doubles
    centre: Doubles
    scale: Doubles
    base: float

    def predict(self, signals_UF: Doubles) -> Doubles:
        """Return the expected long-term value of each person, (U,)."""
        return np.asarray(self.base + (signals_UF - self.centre) / self.scale @ self.weights)


@dataclass(frozen=True)
class Validation:
    """How well a proxy did on people who joined later.

    Attributes:
        proxy: as fitted on the earlier people.
        fitted_on, tested_on: people.
        r2: share of the later people's variance that it explains; below 0 it is worse than a
            constant.
        rank: Spearman correlation of predicted and true value.
        repeat_rank: the same of the plain first signal, without any model.
        bias: mean predicted minus mean true value.
    """

    proxy: Proxy
    fitted_on: int
    tested_on: int
    r2: float
    rank: float
    repeat_rank: float
    bias: float


def fit_proxy(signals_UF: Doubles, value_U: Doubles, penalty: float = 1.0) -> Proxy:
    """Fit a ridge regression; the penalty is in units of people."""
    centre_F, scale_F = signals_UF.mean(axis=0), signals_UF.std(axis=0)
    scale_F = np.where(scale_F > 0, scale_F, 1.0)
    x_UF = (signals_UF - centre_F) / scale_F
    gram = x_UF.T @ x_UF + penalty * np.eye(x_UF.shape[1])
    weights = np.linalg.solve(gram, x_UF.T @ (value_U - value_U.mean()))
    return Proxy(weights, centre_F, scale_F, float(value_U.mean()))


def validate_by_time(
    signals_UF: Doubles,
    value_U: Doubles,
    joined_U: Ints,
    horizon: int,
    *,
    test_from: int,
    penalty: float = 1.0,
) -> Validation:
    """Fit on early joiners, test on late ones.

    Args:
        signals_UF: what people did in their first days; the first column is the one that
            "repeats itself".
        value_U: what they were worth until `horizon` days after they joined.
        joined_U: day on which each joined.
        horizon: days.
        test_from: people who joined on or after this day are tested on; those whose whole
            horizon lies before it are fitted on, the others left out.
        penalty: of the ridge regression, in units of people.

    Raises:
        ValueError: there are fewer than 10 people on a side.
    """
    early, late = joined_U + horizon <= test_from, joined_U >= test_from
    if min(early.sum(), late.sum()) < 10:
        raise ValueError(f"{early.sum()} people to fit on and {late.sum()} to test on")
    proxy = fit_proxy(signals_UF[early], value_U[early], penalty)
    predicted, truth = proxy.predict(signals_UF[late]), value_U[late]
    spread = ((truth - truth.mean()) ** 2).sum()
    return Validation(
        proxy,
        int(early.sum()),
        int(late.sum()),
        float(1 - ((truth - predicted) ** 2).sum() / spread) if spread else float("nan"),
        _spearman(predicted, truth),
        _spearman(signals_UF[late, 0], truth),
        float(predicted.mean() - truth.mean()),
    )


def _spearman(a: Doubles, b: Doubles) -> float:
    from scipy.stats import spearmanr

    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)
