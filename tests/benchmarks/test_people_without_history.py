"""What people without a history are shown: the model's own answer, or what is popular?

    make bench PYTEST_ARGS="-k people_without_history"

Five rolling cuts, the first in the middle; one training per cut, with and without the answer of
`serving.cold_users: popular` in front of it, so that nothing but the requests of people without a
history can differ. Paired intervals over those people. `OSTINATO_WORLDS` picks data sets
(`shop movielens-small`), `OSTINATO_SET` changes settings.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmark_settings import given_settings
from worlds import CONFIGS, changed, world

from pipelines.bench import dataset_of, fit_unified
from recommender.artifact import Model
from recommender.baselines.cold_users import fit_cold_users
from recommender.config import Config, load
from recommender.evaluation.contest import Contestant, hold
from recommender.evaluation.metrics import per_user
from recommender.evaluation.statistics import PairedBootstrap
from recommender.features.dataset import Dataset
from recommender.split import Fold

WORLDS = os.environ.get("OSTINATO_WORLDS", "shop movielens-small").split()
CUTS = {"split.folds": 5, "split.first_test_start_share": 0.5}


@pytest.mark.benchmark
@pytest.mark.needs_data
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", WORLDS)
def test_people_without_history(
    name: str, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    given = {**CUTS, **given_settings()}
    cache = tmp_path_factory.getbasetemp() / "people-without-history"
    if name == "shop":
        config = load(CONFIGS / "synthetic.yaml", {**given, "workspace": str(cache)})
        dataset = dataset_of(config)
    else:
        config, dataset = world(name, shared_data, cache, given)
    trained: dict[Fold, Model] = {}

    def own(data: Dataset, fold: Fold, tree: Config) -> Model:
        trained[fold] = fit_unified(data, fold, tree)
        return trained[fold]

    def popular(data: Dataset, fold: Fold, tree: Config) -> Model:
        return replace(trained[fold], cold=fit_cold_users(data, fold, tree))

    started = time.process_time()
    by_popularity = changed(config, {"serving.cold_users": "popular"})
    systems = [Contestant("model", own, config), Contestant("popular", popular, by_popularity)]
    panel = hold(dataset, systems, config).panel
    lengths = panel.requests.histories(panel.rows).lengths
    users = panel.requests.users[panel.rows]
    column = panel.metrics.index("ndcg@10")
    ndcg = {
        system: np.concatenate([part.metrics for part in parts])[:, column]
        for system, parts in panel.runs.items()
    }
    print(
        f"\n\n{name} {given}: {len(panel.rows):,} requests of {len(panel.users):,} people, "
        f"{time.process_time() - started:.0f} CPU s"
    )
    for label, rows in (("without history", lengths == 0), ("all", lengths >= 0)):
        values = np.stack(
            [per_user(each[rows, None], users[rows])[1] for each in ndcg.values()], axis=1
        )
        sure = PairedBootstrap(values, resamples=2000, confidence=0.95, seed=config.seed)
        gap, least = sure.difference(0, 1), sure.detectable(0, 1)[0]
        print(
            f"{label}: {rows.sum()} requests of {sure.users} people; NDCG@10 model "
            f"{sure.mean(0).estimate[0]:.4f}, popular {sure.mean(1).estimate[0]:.4f}, difference "
            f"{gap.estimate[0]:+.4f} ({gap.low[0]:+.4f} to {gap.high[0]:+.4f}), least "
            f"detectable {least:.4f}"
        )
    same = lengths > 0
    assert (ndcg["model"][same] == ndcg["popular"][same]).all()
