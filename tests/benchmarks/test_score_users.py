"""Scoring users × full catalogue with metrics, against the bare matrix product and top-k.

OSTINATO_BENCH_USERS sets the users of the run over all of them (default 20,000; 1,000,000 takes
minutes on two cores).
"""

from __future__ import annotations

import os
import resource
import time

import numpy as np
import pytest

from recommender.evaluation.frozen import EvaluationSet
from recommender.evaluation.metrics import metric_names
from recommender.evaluation.score import score
from recommender.features.sequences import Catalogue, EventLog, Histories
from recommender.split import Fold

ITEMS, WIDTH, K, EVENTS = 20_000, 64, 100, 10
PART, ROUNDS = 5_000, 9


class LastItemVector:
    """Scores by the dot product with the vector of the last item: the least that a model does."""

    kind = "last-item-vector"

    def __init__(self, vectors: np.ndarray) -> None:
        self.catalogue = Catalogue(tuple(f"i{row:06d}" for row in range(len(vectors))))
        self.vectors = vectors

    def scores(self, histories: Histories) -> np.ndarray:
        return self.vectors[histories.items[histories.offsets[1:] - 1]] @ self.vectors.T


def _requests(users: int, catalogue: Catalogue) -> EvaluationSet:
    rng = np.random.default_rng(0)
    times = np.tile(np.arange(EVENTS), users)
    log = EventLog(
        users=tuple(f"u{row:07d}" for row in range(users)),
        offsets=np.arange(users + 1, dtype=np.int64) * EVENTS,
        items=rng.integers(0, ITEMS, users * EVENTS, np.int32),
        actions=np.ones(users * EVENTS, np.int8),
        times=times.astype(np.int64),
        values=np.full(users * EVENTS, np.nan, np.float32),
    )
    return EvaluationSet(
        log=log,
        catalogue=catalogue,
        users=np.arange(users),
        times=np.full(users, EVENTS, np.int64),
        folds=np.zeros(users, np.int64),
        relevant=rng.integers(0, ITEMS, users, np.int32),
        offsets=np.arange(users + 1, dtype=np.int64),
        windows=(Fold(0, EVENTS, EVENTS + 1),),
        history_limit=EVENTS,
        exclude_seen=True,
        data_version="bench",
        unscored={},
        counts={},
    )


def _bare(requests: EvaluationSet, vectors: np.ndarray, users: slice, block: int) -> None:
    """Multiply and take the top, and nothing else."""
    for first in range(users.start, users.stop, block):
        rows = slice(first, min(first + block, users.stop))
        last = requests.log.items[requests.log.offsets[1:][rows] - 1]
        scores = vectors[last] @ vectors.T
        top = np.argpartition(scores, -K, axis=1)[:, -K:]
        np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, 1), axis=1), 1)


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_metrics_of_users_by_full_catalogue() -> None:
    users = int(os.environ.get("OSTINATO_BENCH_USERS", "20000"))
    vectors = np.random.default_rng(1).standard_normal((ITEMS, WIDTH)).astype(np.float32)
    scorer = LastItemVector(vectors)
    requests = _requests(users, scorer.catalogue)
    block = 128 * 2**20 // (ITEMS * 24)
    part = min(PART, users)
    bare, ours = [], []
    # One after the other, many times: what else the machine does then falls on both.
    for round_ in range(ROUNDS):
        first = (round_ * part) % max(users - part, 1)
        started = time.perf_counter()
        _bare(requests, vectors, slice(first, first + part), block)
        bare.append(time.perf_counter() - started)
        rows = np.arange(first, first + part)
        started = time.perf_counter()
        score(scorer, EVENTS, requests, rows, (10, K), label="part")
        ours.append(time.perf_counter() - started)
    ratio = np.array(bare) / np.array(ours)

    started = time.perf_counter()
    found = score(scorer, EVENTS, requests, np.arange(users), (10, K), label="all")
    whole = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    assert found.metrics.shape == (users, len(metric_names((10, K))))
    print(
        f"\n{part:,} users × {ITEMS:,} items, top {K}, {ROUNDS} times in turn: bare matmul + top-k "
        f"{part / np.median(bare):,.0f} users/s, with masks, ties and {found.metrics.shape[1]} "
        f"metrics {part / np.median(ours):,.0f} users/s: median ratio {np.median(ratio):.0%} "
        f"({ratio.min():.0%} to {ratio.max():.0%}); all {users:,} users at once: {whole:.0f} s, "
        f"{users / whole:,.0f} users/s, peak {peak:.2f} GB"
    )
