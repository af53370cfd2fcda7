"""Many questions at once: with twenty of them, one "significant" difference is to be expected.

Holm (1979): the smallest of m p-values is multiplied by m, the next by m − 1, and so on, never
falling. Whatever is below 0.05 then is so with at most 5 % chance that any of it is an accident.

Two families are corrected, each by itself: the metrics of one comparison, and the groups of
requests (in the primary metric). The gate's rules are not: each asks one question that was fixed
beforehand (the primary metric against one rival), and all must pass, so that none of them passes a
candidate by chance that another would have stopped (intersection–union: Berger 1982).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def holm(p_values: Doubles) -> Doubles:
    """Return adjusted p-values in the order given; NaN (no test) stays and counts for nothing."""
    adjusted = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def paired_ps(differences_UM: Doubles) -> Doubles:
    """Return `paired_p` of every column, (M,)."""
    return np.array([paired_p(column) for column in differences_UM.T])


def paired_p(differences_U: Doubles) -> float:
    """Return the two-sided p-value of "the mean is 0": Student's paired t-test.

    Args:
        differences_U: one per user.

    Returns:
        NaN for fewer than two users; 1 where all differences are 0.
    """
    from scipy.stats import t

    users = len(differences_U)
    if users < 2:
        return float("nan")
    error = differences_U.std(ddof=1) / np.sqrt(users)
    if error == 0:
        return 1.0 if differences_U.mean() == 0 else 0.0
    return float(2 * t.sf(abs(differences_U.mean()) / error, users - 1))
