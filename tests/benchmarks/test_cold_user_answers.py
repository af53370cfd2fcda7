"""What people without a history are shown, on the generated shop with a follow graph.

    make bench PYTEST_ARGS="-k cold_user_answers"

Asked are only requests without any history, at five cuts, the full catalogue ranked, in the harness
of every other comparison. In this shop people follow those whose taste is like their own, and
country and age say nothing of it: it shows what the answer can do where a follow graph tells of
taste, not how much one tells elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from tables_by_hand import configuration

from recommender.artifact import Model
from recommender.baselines.cold_users import fit_cold_users
from recommender.baselines.popularity import Popularity
from recommender.config import Config
from recommender.evaluation.contest import Contestant, hold
from recommender.evaluation.freeze import freeze
from recommender.evaluation.frozen import EvaluationSet, ranges
from recommender.evaluation.records import Interval
from recommender.features.build import build_dataset
from recommender.features.dataset import Dataset
from recommender.features.text import TextVectors
from recommender.privacy import Pseudonyms
from recommender.quality.clean import clean
from recommender.sources.read import read
from recommender.split import Fold

KINDS = ("social", "profile", "trend", "popular")


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_cold_user_answers_on_the_generated_shop(tmp_path: Path) -> None:
    config = shop(tmp_path)
    tables, _ = read(config)
    items = tables.items.num_rows
    text = TextVectors(
        np.zeros((items, 2), np.float32), ("",) * items, ("",) * items, "none@0", 0, 0, items, 0.0
    )
    cleaned = clean(tables, config, datetime.now(UTC))
    names = Pseudonyms(b"sixteen bytes ok")
    dataset = build_dataset(cleaned.tables, config, text, names, "bench")
    every = freeze(dataset, config.actions, config.features.history_limit, 5)
    cold = without_history(every)
    contestants = [
        Contestant(kind, fit, config.model_copy(update={"serving": serving(config, kind)}))
        for kind in KINDS
    ]
    contest = hold(dataset, contestants, config, cold)
    edges = cleaned.tables.follows.num_rows
    print(
        f"\n\n{len(contest.panel.users)} people, {len(cold)} of {len(every):,} requests without "
        f"history, {items:,} items, {edges:,} edges; by cut {contest.folds}\n"
    )
    print("| answer | NDCG@10 | HR@10 | social minus it (NDCG@10) |\n|---|---|---|---|")
    compared = {each.rival: each.difference["ndcg@10"] for each in contest.panel.comparisons}
    for system in contest.panel.systems:
        gap = compared.get(system.name)
        figures = [told(system.metrics[name]) for name in ("ndcg@10", "hr@10")]
        print(f"| {system.name} | {' | '.join(figures)} | {told(gap) if gap else '–'} |")
    assert compared["popular"].low > 0, "people of one's taste tell more than everybody"


def shop(workspace: Path) -> Config:
    return configuration(
        workspace,
        source={"kind": "synthetic", "users": 3000, "items": 400, "days": 90, "follows": 10},
        actions={
            "types": ["impression", "click", "purchase"],
            "history": ["click", "purchase"],
            "success": ["click"],
            "exclude_seen": False,
        },
        split={"folds": 5, "first_test_start_share": 0.2},
        evaluation={"slices": {"attributes": ["country", "age_group"]}},
    )


def fit(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Return a model that matters to nobody here, with the answer that is judged."""
    size = len(dataset.catalogue)
    scorer = Popularity(dataset.catalogue, np.ones(size, np.float32))
    cold = fit_cold_users(dataset, fold, config)
    return Model(scorer, dataset.titles, config.actions, config.features.history_limit, cold=cold)


def without_history(requests: EvaluationSet) -> EvaluationSet:
    lengths = requests.histories(np.arange(len(requests))).lengths
    keep = np.flatnonzero(lengths == 0)
    counts = requests.relevant_counts[keep]
    return replace(
        requests,
        users=requests.users[keep],
        times=requests.times[keep],
        folds=requests.folds[keep],
        relevant=requests.relevant[ranges(requests.offsets[keep], counts)],
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        surfaces=None if requests.surfaces is None else requests.surfaces[keep],
    )


def serving(config: Config, kind: str):
    return config.serving.model_copy(update={"cold_users": kind})


def told(each: Interval) -> str:
    return f"{each.estimate:.4f} ({each.low:+.4f} to {each.high:+.4f})"
