"""A refresh of a champion that reads who asks and where, and foretells ratings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny_world import ACTIONS, tiny_config, tiny_dataset

from recommender.config import Config, parse
from recommender.ensemble import fused
from recommender.errors import TrainingError
from recommender.feature_services import UNIFIED_V1, UNIFIED_V2
from recommender.features.dataset import Dataset
from recommender.training.refresh import Champion, refresh
from recommender.training.run import train

SURFACES = ("home", "search")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    rolling = tiny_dataset(folds=2)
    log = rolling.log
    people = pa.table(
        {"user": pa.array(log.users), "sex": pa.array(["f", "m"] * (len(log.users) // 2))}
    )
    codes = np.random.default_rng(3).integers(0, 3, len(log)).astype(np.int8)
    stars = (1 + np.arange(len(log)) % 5).astype(np.float32)
    return replace(rolling, log=replace(log, surfaces=codes, values=stars), attributes=people)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    tiny = tiny_config(
        tmp_path_factory.mktemp("more"), epochs=1, refit=False, tokens_per_batch=2048
    )
    tree = tiny.model_dump(mode="json")
    value = {"name": "rating", "events": ["purchase"]}
    tree["actions"]["surfaces"] = list(SURFACES)
    tree["model"] |= {"user_attributes": ["sex"], "surface": True, "ranking": {"values": [value]}}
    tree["training"]["ensemble"] = {"members": {"popularity": 0.5}}
    return parse(tree | {"refresh": {"epochs": 1}}, "test")


@pytest.fixture(scope="module")
def champion(dataset: Dataset, config: Config) -> Champion:
    torch.set_num_threads(1)
    fold = dataset.folds[0]
    return Champion("m-0123456789ab", train(dataset, fold, config).model, fold.test_start)


def test_the_refreshed_model_is_served_what_it_reads(dataset, config, champion):
    found = refresh(dataset, dataset.folds[-1], champion, config)
    assert found.recent > 0
    model = found.trained.model
    assert model.reads_profiles
    assert model.reads_surfaces
    assert model.feature_service == champion.model.feature_service == UNIFIED_V2


def test_a_champion_of_other_surfaces_is_refused(dataset, config, champion):
    actions = ACTIONS.model_copy(update={"surfaces": SURFACES[::-1]})
    other = replace(champion, model=replace(champion.model, actions=actions))
    with pytest.raises(TrainingError, match="tells the surfaces search, home apart"):
        refresh(dataset, dataset.folds[-1], other, config)


def test_an_ensemble_is_served_what_its_members_read(dataset, config, champion):
    model = replace(champion.model, feature_service=UNIFIED_V1)
    assert fused(model, dataset, dataset.folds[-1], config).feature_service == UNIFIED_V2
