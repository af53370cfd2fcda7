"""How what several parts are worth together is shared out among them.

Shape letters: M numbers that a coalition is worth, J parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from math import factorial

import numpy as np

from recommender.explain.occlusion import Doubles

Coalition = frozenset[str]
Worth = Callable[[Coalition], Doubles]
"""Which parts are there to what they are worth, (M,)."""

EXACT = 4
"""With no more parts than so many all coalitions are asked: 16."""


def shared_out(worth: Worth, names: Sequence[str]) -> dict[str, Doubles]:
    """Share out what all parts are worth over none, (M,) each; they add up to it."""
    return shapley(worth, names) if len(names) <= EXACT else first_and_last(worth, names)


def shapley(worth: Worth, names: Sequence[str]) -> dict[str, Doubles]:
    """Return each part's average gain over all orders of coming in.

    Shapley 1953, A value for n-person games. Costs 2 ** J coalitions.

    Args:
        worth: of coalitions; asked for the same one several times.
        names: of the parts.
    """
    asked = {coalition: worth(coalition) for coalition in _all(names)}
    shares = {}
    for name in names:
        gain_M = np.zeros_like(asked[frozenset()])
        for coalition, before_M in asked.items():
            if name in coalition:
                continue
            size = len(coalition)
            weight = factorial(size) * factorial(len(names) - size - 1) / factorial(len(names))
            gain_M = gain_M + weight * (asked[coalition | {name}] - before_M)
        shares[name] = gain_M
    return shares


def first_and_last(worth: Worth, names: Sequence[str]) -> dict[str, Doubles]:
    """Return the mean of what each part gains as the first and as the last to come in.

    That is the Shapley value wherever parts only work alone or in pairs. Of three or more together
    it lets some rest, which is shared out by how much each part's gain depends on the others: a
    part that never changes anything gets nothing, parts that are alike get the same, and all of
    it adds up. Costs 2 J + 2 coalitions.

    Args:
        worth: of coalitions.
        names: of the parts.
    """
    if not names:
        return {}
    everything = frozenset(names)
    none_M, all_M = worth(frozenset()), worth(everything)
    first_JM = np.array([worth(frozenset({name})) - none_M for name in names])
    last_JM = np.array([all_M - worth(everything - {name}) for name in names])
    share_JM = (first_JM + last_JM) / 2
    rest_M = all_M - none_M - share_JM.sum(axis=0)
    bound_JM = np.abs(last_JM - first_JM)
    total_M = bound_JM.sum(axis=0)
    # Parts that are worth nothing alone, nor missed alone, have nothing to tell them apart.
    even_JM = np.full_like(bound_JM, 1 / len(names))
    part_JM = np.divide(bound_JM, total_M, out=even_JM, where=total_M > 0)
    return dict(zip(names, share_JM + part_JM * rest_M, strict=True))


def _all(names: Sequence[str]) -> Iterator[Coalition]:
    for size in range(len(names) + 1):
        for some in combinations(names, size):
            yield frozenset(some)
