"""Ranking metrics per request, over the full catalogue, vectorised.

With binary relevance, hits h_1 … h_k of the top list, and R relevant items:

    HR@k         1 if any h, else 0
    recall@k     sum h / R
    precision@k  sum h / k
    MRR@k        1 / (place of the first hit), 0 without one
    MAP@k        sum over hits of (hits so far / place) / min(k, R)
    NDCG@k       DCG@k / IDCG@k, DCG@k = sum h_j / log2(j + 1), IDCG@k = DCG@k of min(k, R) hits
                 (Järvelin & Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques)

Where scores tie, the item that comes first in the catalogue is ranked first: the lists come from
`recommender.scoring.top_k`, as they do in serving.

Shape letters: B requests, I items, K places of the top list, M metrics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
NAMES = ("ndcg", "hr", "mrr", "map", "recall", "precision")


def metric_names(ks: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the columns of `per_request`: `ndcg@5`, `ndcg@10`, … `precision@20`."""
    return tuple(f"{name}@{k}" for name in NAMES for k in ks)


def hits(top_BK: NDArray[np.int64], relevant_BI: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which places of the top lists hold a relevant item, (B, K)."""
    return np.take_along_axis(relevant_BI, top_BK, axis=1)


def per_request(
    hits_BK: NDArray[np.bool_], relevant_counts_B: NDArray[np.int64], ks: Sequence[int]
) -> Doubles:
    """Return every metric of every request.

    Args:
        hits_BK: whether each place of the top list, best first, is relevant. The list may be
            shorter than the largest k (a small catalogue): missing places are misses.
        relevant_counts_B: relevant items of each request, 1 or more.
        ks: the cut-offs.

    Returns:
        (B, M) in the order of `metric_names(ks)`, each in [0, 1].

    Raises:
        ValueError: a request has no relevant item: its metrics are not defined.
    """
    if not (relevant_counts_B > 0).all():
        raise ValueError(f"{(relevant_counts_B < 1).sum()} requests have no relevant item")
    depth = max(ks)
    places = np.zeros((len(hits_BK), depth))
    width = min(depth, hits_BK.shape[1])
    places[:, :width] = hits_BK[:, :width]
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    gain = np.cumsum(places * discounts, axis=1)
    ideal = np.cumsum(discounts)
    found = np.cumsum(places, axis=1)
    first = np.argmax(places, axis=1)  # 0 where there is no hit, which the next line masks
    reciprocal = np.where(found[:, -1] > 0, 1 / (first + 1), 0.0)
    average = np.cumsum(places * found / np.arange(1, depth + 1), axis=1)
    columns: dict[str, list[Doubles]] = {name: [] for name in NAMES}
    for k in ks:
        columns["ndcg"].append(gain[:, k - 1] / ideal[np.minimum(relevant_counts_B, k) - 1])
        columns["hr"].append((found[:, k - 1] > 0).astype(np.float64))
        columns["mrr"].append(np.where(first < k, reciprocal, 0.0))
        columns["map"].append(average[:, k - 1] / np.minimum(relevant_counts_B, k))
        columns["recall"].append(found[:, k - 1] / relevant_counts_B)
        columns["precision"].append(found[:, k - 1] / k)
    return np.stack([column for name in NAMES for column in columns[name]], axis=1)


def per_user(metrics_BM: Doubles, users_B: NDArray[np.int64]) -> tuple[NDArray[np.int64], Doubles]:
    """Average requests within users: users, not requests, are independent of each other.

    Returns:
        the users (sorted, distinct), (U,), and their mean metrics, (U, M).
    """
    users_U, row_B = np.unique(users_B, return_inverse=True)
    counts_U = np.bincount(row_B, minlength=len(users_U))
    sums = [np.bincount(row_B, column, minlength=len(users_U)) for column in metrics_BM.T]
    return users_U, np.stack(sums, axis=1) / counts_U[:, None]
