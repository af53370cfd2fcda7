"""The comparison with papers: MovieLens-1M in order, leave-one-out, the whole catalogue ranked.

    make bench PYTEST_ARGS="-k movielens_1m"

One thread, order alone, by `configs/movielens-1m-order.yaml`; training is timed in CPU seconds, its
set-up included. `OSTINATO_SET="training.epochs=4 seed=8"` changes settings, for ablations.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from leave_one_out_training import train_leave_one_out
from movielens_1m import CONFIG, in_order

from recommender.evaluation.metrics import metric_names
from recommender.evaluation.score import score


@pytest.mark.benchmark
@pytest.mark.needs_data
@pytest.mark.timeout(14_400)
def test_movielens_1m_in_order(shared_data: Path, tmp_path: Path) -> None:
    config, dataset, cut = in_order(shared_data, tmp_path, os.environ.get("OSTINATO_SET", ""))
    cpu, wall = time.process_time(), time.perf_counter()
    trained = train_leave_one_out(dataset, cut, config)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    events = sum(epoch.events for epoch in trained.curve)
    torch.set_num_threads(1)
    figures = {}
    for name, requests in (("validation", cut.validation), ("test", cut.test)):
        scored = score(
            trained.model.scorer,
            config.model.history,
            requests,
            np.arange(len(requests)),
            (10,),
            label=name,
        )
        figures[name] = scored.metrics.mean(axis=0)
    print(
        f"\n\n{len(cut.test)} users, {len(dataset.catalogue)} films; "
        f"{os.environ.get('OSTINATO_SET') or CONFIG.name}\n"
        f"{trained.parameters:,} parameters, {len(trained.curve)} epochs, {cpu:.0f} CPU s "
        f"({wall:.0f} s of wall time), {events / cpu / 1000:.1f} k events per CPU second, "
        f"last loss {trained.curve[-1].item_loss:.4f}\n"
    )
    print("| asked for | NDCG@10 | HR@10 |\n|---|---:|---:|")
    for name, metrics in figures.items():
        by_name = dict(zip(metric_names((10,)), metrics, strict=True))
        print(f"| {name} | {by_name['ndcg@10']:.4f} | {by_name['hr@10']:.4f} |")
    assert len(cut.test) == 6040
    assert len(dataset.catalogue) == 3416
