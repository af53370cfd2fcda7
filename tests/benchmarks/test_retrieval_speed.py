"""A million items: exact top-k by blocked matrix products, and nearly by FAISS.

    make bench PYTEST_ARGS="-k test_retrieval_speed"

One thread each, batches of 32 queries, CPU time, in turns. Vectors are clustered (kinds within
categories, Zipf sizes; tests/serving/index/clusters.py) with popularity as one more dimension,
as the model's are. Recall is against the exact answer, on queries that the index was not set by.
"""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import numpy as np
import pytest

WIDTH, DEPTH, BATCH, ROUNDS = 64, 100, 32, 6


def clustered(items: int):
    where = Path(__file__).parents[1] / "serving" / "index" / "clusters.py"
    spec = importlib.util.spec_from_file_location("clusters", where)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.catalogue(items, WIDTH)


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_retrieval_speed() -> None:
    from threadpoolctl import threadpool_limits

    from serving.index.approximate import ApproximateIndex, recall_of
    from serving.index.exact import ExactIndex

    count = int(os.environ.get("OSTINATO_BENCH_ITEMS", 1_000_000))
    items, queries = clustered(count)
    with threadpool_limits(1):
        started = time.process_time()
        near = ApproximateIndex(items, queries(256, 1))
        built = time.process_time() - started
        exact = ExactIndex(items)
        took = {"exact": 0.0, "approximate": 0.0}
        recalls = []
        for round_ in range(ROUNDS):
            asked = queries(BATCH, 100 + round_)
            found = {}
            for name, index in (("exact", exact), ("approximate", near)):
                started = time.process_time()
                found[name], _ = index.search(asked, DEPTH)
                took[name] += time.process_time() - started
            recalls.append(recall_of(found["approximate"], found["exact"]))
    each = {name: seconds / ROUNDS / BATCH * 1000 for name, seconds in took.items()}
    print(
        f"\n{count:,} items × {WIDTH + 1}: exact {each['exact']:.2f} ms per query, approximate "
        f"{each['approximate']:.2f} ms ({each['exact'] / each['approximate']:.1f} × the "
        f"throughput) at recall@{DEPTH} {np.mean(recalls):.4f}; {near.probes} of "
        f"{near.groups} groups; built and set in {built:.0f} s"
    )
