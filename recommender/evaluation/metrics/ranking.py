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
    count = len(hits_BK)
    # Hits are few: everything is added up over them, in the order of the places.
    row_H, place_H = np.nonzero(hits_BK[:, : max(ks)])
    starts_B = np.searchsorted(row_H, np.arange(count))
    so_far_H = np.arange(1, len(row_H) + 1) - starts_B[row_H]
    gain_H = 1 / np.log2(place_H + 2)
    precision_H = so_far_H / (place_H + 1)
    ideal = np.cumsum(1 / np.log2(np.arange(2, max(ks) + 2)))
    found = np.empty((count, len(NAMES), len(ks)))
    for column, k in enumerate(ks):
        near = slice(None) if k == max(ks) else place_H < k
        row, first = row_H[near], so_far_H[near] == 1
        most_B = np.minimum(relevant_counts_B, k)
        hits_B = np.bincount(row, minlength=count)
        reciprocal_B = np.zeros(count)
        reciprocal_B[row[first]] = 1 / (place_H[near][first] + 1)
        found[:, 0, column] = np.bincount(row, gain_H[near], minlength=count) / ideal[most_B - 1]
        found[:, 1, column] = hits_B > 0
        found[:, 2, column] = reciprocal_B
        found[:, 3, column] = np.bincount(row, precision_H[near], minlength=count) / most_B
        found[:, 4, column] = hits_B / relevant_counts_B
        found[:, 5, column] = hits_B / k
    return found.reshape(count, -1)


def per_user(metrics_BM: Doubles, users_B: NDArray[np.int64]) -> tuple[NDArray[np.int64], Doubles]:
    """Average requests within users: users, not requests, are independent of each other.

    Returns:
        the users (sorted, distinct), (U,), and their mean metrics, (U, M).
    """
    users_U, row_B = np.unique(users_B, return_inverse=True)
    counts_U = np.bincount(row_B, minlength=len(users_U))
    sums = [np.bincount(row_B, column, minlength=len(users_U)) for column in metrics_BM.T]
    return users_U, np.stack(sums, axis=1) / counts_U[:, None]
