"""How far a log has moved from the version accepted before it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from recommender.quality.statistics import Statistics

_SMALLEST = 1e-4
"""Share taken for a category that one side lacks, so that its logarithm is finite."""


def population_stability_index(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Compare two count tables by the population stability index.

    Σ (q − p) ln(q / p) over the categories, with p the shares before and q the shares now: the
    symmetrised Kullback–Leibler divergence (Kullback and Leibler, 1951) as scorecards use it.

    >>> round(population_stability_index({"a": 50, "b": 50}, {"a": 75, "b": 25}), 4)
    0.2747
    """
    p, q = (np.maximum(shares, _SMALLEST) for shares in _shares(before, now))
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon_distance(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Compare two count tables by the Jensen–Shannon distance, 0 (the same) … 1 (disjoint).

    The square root of the divergence to the mixture, with logarithms of base 2 (Lin, 1991;
    Endres and Schindelin, 2003: its root is a metric).

    >>> jensen_shannon_distance({"a": 1}, {"b": 1})
    1.0
    """
    p, q = _shares(before, now)
    mixture = (p + q) / 2
    divergence = (_divergence(p, mixture) + _divergence(q, mixture)) / 2
    return float(np.sqrt(np.clip(divergence, 0.0, 1.0)))


def drift(before: Statistics, now: Statistics) -> dict[str, float]:
    """Return the figures of `recommender.config.quality.DriftLimits` that can be computed.

    The items remembered on both sides are compared one by one; all others of a side are one
    category, so a renumbered catalogue shows as a move from the known items to the others.
    """
    figures = {
        "events_kept": now.events / max(before.events, 1),
        "users_kept": now.users / max(before.users, 1),
        "items_kept": now.catalogue / max(before.catalogue, 1),
        "growth": now.events / max(before.events, 1),
    }
    if before.events and now.events:
        figures["event_mix"] = population_stability_index(before.event_mix, now.event_mix)
    if before.history_events and now.history_events:
        figures["popularity"] = jensen_shannon_distance(*_popularity(before, now))
    if before.value_count and now.value_count and before.value_std > 0:
        figures["value_mean"] = abs(now.value_mean - before.value_mean) / before.value_std
    return figures


def _popularity(before: Statistics, now: Statistics) -> tuple[dict[str, int], dict[str, int]]:
    """Bring both to the same categories.

    An item remembered on one side only may, on the other, be among the uncounted ones: where a
    side has such a remainder, that item joins it; where it has none, the item's count is zero.
    """
    first, second = dict(before.popularity), dict(now.popularity)
    first_rest, second_rest = before.other_items, now.other_items
    for item in set(first) ^ set(second):
        if item in first and now.other_items:
            first_rest += first.pop(item)
        elif item in second and before.other_items:
            second_rest += second.pop(item)
    # A key that no item has: ids are never empty.
    return {**first, "": first_rest}, {**second, "": second_rest}


def _shares(
    before: Mapping[str, float], now: Mapping[str, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    names = sorted({*before, *now})
    p = np.array([before.get(name, 0) for name in names], np.float64)
    q = np.array([now.get(name, 0) for name in names], np.float64)
    return p / p.sum(), q / q.sum()


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    there = p > 0
    return float(np.sum(p[there] * np.log2(p[there] / q[there])))
