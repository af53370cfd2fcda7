"""Ranking metrics against the tool of the TREC conferences, request by request."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval

from recommender.evaluation.metrics import hits, metric_names, per_request
from recommender.scoring import top_k

KS = (5, 10, 20)
# Its MAP@k divides by all relevant items, ours by as many as k places can hold.
SAME = {"ndcg": "ndcg_cut", "recall": "recall", "precision": "P", "hr": "success"}


@pytest.mark.parametrize("relevant_each", [1, 4, 30])
def test_every_metric_of_every_request_is_that_of_trec_eval(relevant_each: int) -> None:
    rng = np.random.default_rng(relevant_each)
    requests, items = 50, 60
    scores = rng.permuted(np.tile(np.arange(items, dtype=np.float32), (requests, 1)), axis=1)
    relevant = np.zeros((requests, items), bool)
    for row in relevant:
        row[rng.choice(items, relevant_each, replace=False)] = True
    top, _ = top_k(scores, max(KS))
    ours = per_request(hits(top, relevant), relevant.sum(axis=1), KS)
    judged = {
        f"q{b}": {f"d{i}": int(relevant[b, i]) for i in range(items)} for b in range(requests)
    }
    run = {f"q{b}": {f"d{i}": float(scores[b, i]) for i in range(items)} for b in range(requests)}
    cuts = ",".join(map(str, KS))
    wanted = {*(f"{theirs}.{cuts}" for theirs in SAME.values()), f"map_cut.{cuts}", "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(judged, wanted).evaluate(run)
    column = dict(zip(metric_names(KS), ours.T, strict=True))
    for k in KS:
        for name, theirs in SAME.items():
            outside = [found[f"q{b}"][f"{theirs}_{k}"] for b in range(requests)]
            assert column[f"{name}@{k}"] == pytest.approx(outside, abs=1e-9), (name, k)
        scale = relevant_each / min(k, relevant_each)
        outside = [found[f"q{b}"][f"map_cut_{k}"] * scale for b in range(requests)]
        assert column[f"map@{k}"] == pytest.approx(outside, abs=1e-9)
    reciprocal = np.array([found[f"q{b}"]["recip_rank"] for b in range(requests)])
    assert column["mrr@20"] == pytest.approx(np.where(reciprocal < 1 / 20, 0, reciprocal))
