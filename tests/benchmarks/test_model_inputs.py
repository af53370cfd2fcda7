"""What each further input of the model gives, on the same requests, against the model without it.

    make bench PYTEST_ARGS="-k model_inputs"

The shipped configurations, rolling cuts of the global time split, the full catalogue ranked. Every
variant has the seed, the settings and the folds of the plain model; nothing is tuned. Differences
with paired intervals over users, and the least difference that these users can show. One thread.
`OSTINATO_INPUTS` names some of the variants (comma-separated), `OSTINATO_SET` changes settings as
`key=value` (comma-separated) for all of them.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from benchmark_settings import given_settings

from recommender.artifact import Model
from recommender.config import Config, load
from recommender.evaluation.freeze import freeze
from recommender.evaluation.panel import Panel
from recommender.evaluation.score import score
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.dataset import Dataset
from recommender.features.people import with_people
from recommender.features.text import encode_items
from recommender.privacy import Pseudonyms
from recommender.quality.clean import clean
from recommender.sources.read import read
from recommender.training.run import forget, train

ROOT = Path(__file__).parents[2]
PLAIN = "plain"
YEAR = {"source.items.columns.numbers": {"year": "release_year:token"}}

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "movielens-100k": {
        PLAIN: {},
        "people": {
            "model.user_attributes": ["age:token", "gender:token", "occupation:token"],
        },
        "genres": {"model.attribute_width": 32},
        "genres and year": {"model.attribute_width": 32, "model.numbers": ["year"]},
        "demand": {"model.demand": True},
        "id buckets": {"model.id_buckets": 500},
    },
    "online-retail": {
        PLAIN: {},
        "people": {"model.user_attributes": ["Country"]},
        "price": {"model.attribute_width": 32},
        "demand": {"model.demand": True},
        "id buckets": {"model.id_buckets": 1000},
    },
}
PLACES = {
    "movielens-100k": ("ml-100k", ("events", "items", "users"), {"split.folds": 3, **YEAR}),
    "online-retail": ("online-retail-ii", ("events",), {"split.folds": 1}),
}


@pytest.mark.benchmark
@pytest.mark.needs_data
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("name", list(VARIANTS))
def test_model_inputs(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder, tables_at, given = PLACES[name]
    workspace = tmp_path_factory.getbasetemp() / f"inputs-{name}"
    asked = [each for each in os.environ.get("OSTINATO_INPUTS", "").split(",") if each]
    variants = {
        each: change
        for each, change in VARIANTS[name].items()
        if not asked or each in asked or each == PLAIN
    }
    settings = {
        **{f"source.{table}.location": str(shared_data / folder) for table in tables_at},
        "workspace": str(workspace),
        "training.threads": 1,
        "features.text.threads": 1,
        **given,
        **_set_by_hand(),
    }
    configs = {
        each: load(ROOT / "configs" / f"{name}.yaml", {**settings, **change})
        for each, change in variants.items()
    }
    dataset = _dataset(configs, workspace / "cache")
    plain = configs[PLAIN]
    requests = freeze(
        dataset,
        plain.actions,
        plain.features.history_limit,
        plain.evaluation.requests_per_user,
    )
    requests = replace(requests, log=with_people(requests.log, dataset.attributes))
    runs, spent = {}, {}
    for each, config in configs.items():
        start, cpu = time.perf_counter(), time.process_time()
        parts = []
        for fold_number, fold in enumerate(dataset.folds):
            model: Model = train(dataset, fold, config, each).model
            forget(dataset, fold, config)
            rows = requests.of_fold(fold_number)
            ks = config.evaluation.k
            parts.append(score(model.scorer, model.history, requests, rows, ks, label=each))
        runs[each] = parts
        spent[each] = (time.perf_counter() - start, time.process_time() - cpu)
        print(f"\n{each}: {spent[each][1]:.0f} s of CPU", flush=True)
    kinds = dict.fromkeys(runs, "transformer")
    panel = Panel(requests, runs, kinds, plain.evaluation, plain.seed)
    print(
        f"\n\n{name}: {len(panel.users):,} users, {len(panel.rows):,} requests, "
        f"{len(dataset.folds)} cuts, {len(dataset.catalogue):,} items\n"
    )
    print("| inputs | NDCG@10 | HR@10 | NDCG@10 minus plain | detectable | CPU s |")
    print("|---|---|---|---|---|---|")
    for system in panel.systems:
        duel = panel.comparison(system.name, PLAIN) if system.name != PLAIN else None
        difference = _shown(duel.difference["ndcg@10"]) if duel else "–"
        least = duel.detectable["ndcg@10"] if duel else None
        print(
            f"| {system.name} | {system.metrics['ndcg@10'].estimate:.4f} | "
            f"{system.metrics['hr@10'].estimate:.4f} | {difference} | "
            f"{'–' if least is None else f'{least:.4f}'} | {spent[system.name][1]:.0f} |"
        )
    assert set(runs) == set(variants)


def _dataset(configs: dict[str, Config], cache: Path) -> Dataset:
    """Return one data set that holds what any of the variants reads."""
    plain = configs[PLAIN]
    wanted = {name for config in configs.values() for name in config.model.user_attributes}
    most = plain.model_copy(
        update={"model": plain.model.model_copy(update={"user_attributes": tuple(sorted(wanted))})}
    )
    tables, _ = read(most)
    tables = clean(tables, most, datetime(2026, 1, 1, tzinfo=UTC)).tables
    text = encode_items(catalogue_order(tables.items), most.features.text, cache)
    return build_dataset(tables, most, text, Pseudonyms(b"sixteen bytes ok"), "v")


def _set_by_hand() -> dict[str, Any]:
    return given_settings()


def _shown(interval: Any) -> str:
    return f"{interval.estimate:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
