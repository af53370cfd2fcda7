"""What a model of one set of films knows of another: MovieLens 100k → latest-small, by words alone.

    make bench PYTEST_ARGS="-k transfer_by_words"

Both are cut once by time. The films of the two sets share no ids that the model could use, only
the words of their titles and genres, read by the same encoder. Asked is everybody who rates well
in the target's last third. `OSTINATO_SET="training.epochs=4 seed=8"` changes settings.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from benchmark_settings import given_settings

from recommender.config import Config, load
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.dataset import Dataset
from recommender.features.text import encode_items
from recommender.model.scorer import TransformerScorer
from recommender.privacy import Pseudonyms
from recommender.quality.clean import clean
from recommender.sources.read import read
from recommender.training.fresh_module import fresh_module
from recommender.training.log_read import examples_before
from recommender.training.run import train
from recommender.training.validation import Validation

CONFIGS = Path(__file__).parents[2] / "configs"


def world(name: str, given: dict[str, object]) -> tuple[Config, Dataset]:
    extra = given_settings()
    config = load(CONFIGS / name, {"split.folds": 1, **given, **extra})
    tables, _ = read(config)
    tables = clean(tables, config, datetime(2026, 1, 1, tzinfo=UTC)).tables
    text = encode_items(catalogue_order(tables.items), config.features.text, config.paths.cache)
    return config, build_dataset(tables, config, text, Pseudonyms(b"sixteen bytes ok"), "v")


def difference(one: np.ndarray, other: np.ndarray) -> str:
    """The mean difference over the same users, with a 95 % bootstrap interval."""
    gap = one - other
    draws = np.random.default_rng(0).integers(len(gap), size=(2000, len(gap)))
    low, high = np.quantile(gap[draws].mean(axis=1), (0.025, 0.975))
    return f"{gap.mean():+.4f} ({low:+.4f} to {high:+.4f})"


@pytest.mark.benchmark
@pytest.mark.needs_data
@pytest.mark.timeout(14_400)
def test_transfer_by_words(shared_data: Path, tmp_path: Path) -> None:
    source_given = {
        "source.events.location": str(shared_data / "ml-100k"),
        "source.items.location": str(shared_data / "ml-100k"),
        "source.users.location": str(shared_data / "ml-100k"),
        "workspace": str(tmp_path / "source"),
        "training.refit": False,
    }
    config, data = world("movielens-100k.yaml", source_given)
    train(data, data.folds[0], config).model.save(tmp_path / "model")
    data.write(tmp_path / "dataset")

    given = {
        "source.location": str(shared_data / "ml-latest-small"),
        "workspace": str(tmp_path / "target"),
        "split.test_share": 0.33,
    }
    named = {
        "transfer.model": str(tmp_path / "model"),
        "transfer.dataset": str(tmp_path / "dataset"),
    }
    config, data = world("movielens-small.yaml", given)
    fold = data.folds[0]
    asked = Validation.build(
        data.log,
        fold.test_start,
        fold.test_end,
        len(data.catalogue),
        config.actions,
        config.features.history_limit,
        config.evaluation.requests_per_user,
        10**9,
    )
    moving = config.model_validate(
        config.model_dump() | {"transfer": {key.split(".")[1]: path for key, path in named.items()}}
    )
    ndcg, cpu = {}, {}
    for name, wanted in (("from nought", config), ("transferred", moving)):
        examples = examples_before(data, fold.test_start, wanted)
        bare = TransformerScorer(fresh_module(data, examples, wanted), data.catalogue)
        ndcg[f"{name}, untrained"] = asked.ndcg_of_users(bare)
        begun = time.process_time()
        trained = train(data, fold, wanted)
        cpu[name] = time.process_time() - begun
        ndcg[f"{name}, trained"] = asked.ndcg_of_users(trained.model.scorer)
    print(f"\n\n{asked.users} users, {len(asked)} requests, {len(data.catalogue):,} films\n")
    print("| | NDCG@10 |\n|---|---:|")
    for name, values in ndcg.items():
        print(f"| {name} | {values.mean():.4f} |")
    for stage in ("untrained", "trained"):
        gap = difference(ndcg[f"transferred, {stage}"], ndcg[f"from nought, {stage}"])
        print(f"\ntransferred minus from nought, {stage}: {gap}")
    print(f"\nCPU seconds of training: { {name: round(value) for name, value in cpu.items()} }")
    assert asked.users > 100
