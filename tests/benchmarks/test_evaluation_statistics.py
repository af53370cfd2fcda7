"""The statistics of the evaluation at scale, and its metrics against an outside implementation."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
import pytrec_eval

from recommender.evaluation.metrics import hits, metric_names, per_request
from recommender.evaluation.statistics import PairedBootstrap
from recommender.scoring import top_k

ROUNDS = 15


@pytest.mark.benchmark
def test_a_bootstrap_of_many_metrics_over_many_users() -> None:
    users = int(os.environ.get("OSTINATO_BENCH_USERS", "1000000"))
    values = np.random.default_rng(0).random((users, 1, 20))
    started, used = time.perf_counter(), time.process_time()
    found = PairedBootstrap(values, resamples=2000, confidence=0.95, seed=1).mean(0)
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    half = 1.96 * values[:, 0, 0].std() / np.sqrt(users)
    assert found.high[0] - found.estimate[0] == pytest.approx(half, rel=0.2)
    print(f"\n20 metrics × 2,000 resamples × {users:,} users: {wall:.1f} s ({cpu:.1f} s of CPU)")


@pytest.mark.benchmark
def test_metrics_per_user_against_trec_eval() -> None:
    requests, items, relevant_each, k = 5000, 2000, 5, 20
    rng = np.random.default_rng(0)
    scores = rng.random((requests, items), np.float32)
    relevant = np.zeros((requests, items), bool)
    relevant[np.arange(requests)[:, None], rng.integers(0, items, (requests, relevant_each))] = True
    top, best = top_k(scores, k)
    judged = {f"q{b}": {f"d{i}": 1 for i in np.flatnonzero(relevant[b])} for b in range(requests)}
    run = {
        f"q{b}": {f"d{i}": float(s) for i, s in zip(top[b], best[b], strict=True)}
        for b in range(requests)
    }
    wanted = {"ndcg_cut.20", "recall.20", "P.20", "success.20", "map_cut.20", "recip_rank"}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, wanted)

    # What is known of the requests beforehand: theirs holds `judged`, ours the mask and the counts.
    counts = relevant.sum(axis=1)
    outside, inside = [], []
    for _ in range(ROUNDS):
        started = time.process_time()
        theirs = evaluator.evaluate(run)
        outside.append(time.process_time() - started)
        started = time.process_time()
        ours = per_request(hits(top, relevant), counts, (k,))
        inside.append(time.process_time() - started)
    ratio = np.array(outside) / np.array(inside)
    column = ours[:, metric_names((k,)).index("ndcg@20")]
    assert column == pytest.approx([theirs[f"q{b}"]["ndcg_cut_20"] for b in range(requests)])
    print(
        f"\nsix metrics of {requests:,} requests, their dictionaries already made, {ROUNDS} times "
        f"in turn: trec_eval {1000 * np.median(outside):.1f} ms, ours "
        f"{1000 * np.median(inside):.1f} ms: median ratio {np.median(ratio):.1f} × "
        f"({ratio.min():.1f} to {ratio.max():.1f})"
    )
