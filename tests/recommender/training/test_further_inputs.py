"""Training with people, surfaces and demand: what it reads, from when, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from tiny_world import ACTIONS

from recommender.errors import ConfigError
from recommender.evaluation.freeze import freeze
from recommender.evaluation.frozen import EvaluationSet
from recommender.feature_services import UNIFIED_V2
from recommender.features.dataset import Dataset
from recommender.training.demand import FEATURES, log_demand
from recommender.training.popularity import SMOOTHING
from recommender.training.run import train, train_once


def told(world, surfaces=("home", "search")):
    """Return the world with somebody behind every user, and with surfaces."""
    log = world.log
    people = pa.table(
        {
            "user": pa.array(log.users),
            "sex": pa.array(["f" if row % 2 else None for row in range(len(log.users))]),
        }
    )
    codes = np.random.default_rng(3).integers(0, 1 + len(surfaces), len(log)).astype(np.int8)
    return replace(world, log=replace(log, surfaces=codes), attributes=people)


def reading(config, **model):
    actions = ACTIONS.model_copy(update={"surfaces": ("home", "search")})
    shape = config.model.model_copy(update=model)
    return config.model_copy(update={"model": shape, "actions": actions})


def test_demand_is_that_of_strictly_before_each_moment(world, settings):
    config, log = settings(), world.log
    cuts = np.quantile(log.times, [0.4, 0.8]).astype(np.int64)
    moments = np.array([log.times.min(), *cuts])
    whole = log_demand(log, world.items, config, moments)
    assert whole.shape == (3, len(world.catalogue), FEATURES)
    for row, moment in enumerate(moments.tolist()):
        past = log_demand(log.before(moment), world.items, config, np.array([moment]))
        np.testing.assert_array_equal(past[0], whole[row])
        # What happens at that very moment, or later, may be anything.
        items = np.where(log.times >= moment, 0, log.items).astype(np.int32)
        other = log_demand(replace(log, items=items), world.items, config, np.array([moment]))
        np.testing.assert_array_equal(other[0], whole[row])
    assert np.isfinite(whole).all()
    # Before anything happened every item stands at the floor, as one does that came later.
    np.testing.assert_allclose(whole[0], np.log(SMOOTHING))
    assert whole[2].max() > np.log(SMOOTHING)


@pytest.mark.parametrize("kind", ["numbers", "vectors"])
def test_further_numbers_and_vectors_that_no_item_has_are_told(world, settings, kind):
    config = reading(settings(), **{kind: ("typo", "year")})
    held = pa.map_(pa.string(), pa.float64() if kind == "numbers" else pa.list_(pa.float32()))
    something = 1999.0 if kind == "numbers" else [1.0, 2.0]
    column = pa.array([[("year", something)]] + [[]] * (len(world.catalogue) - 1), held)
    named = replace(world, items=world.items.append_column(kind, column))
    for dataset, missing in ((world, "typo, year"), (named, "typo")):
        told = f"model.{kind} names {missing}, which no item of the data set has"
        with pytest.raises(ConfigError, match=told):
            train(dataset, dataset.folds[-1], config)


def test_a_model_learns_from_people_surfaces_and_demand_and_says_what_serving_must_read(
    world, settings
):
    inputs = {"user_attributes": ("sex",), "surface": True, "demand": True}
    config = reading(settings(epochs=1, refit=False, popularity_slices=2), **inputs)
    known = told(world)
    made = train(known, known.folds[-1], config)
    scorer = made.model.scorer
    assert made.model.feature_service == UNIFIED_V2
    assert scorer.module.reads.people.sizes == (2,)
    assert scorer.module.popularity.popularity_IF.shape[1] == 3 + FEATURES
    # Whatever is read has been learned from: it has left where it started.
    assert np.abs(scorer.weights()["request.surface.weight"]).max() > 0
    assert np.abs(scorer.weights()["popularity.weight_F"] - 1 / 5).min() > 0
    blind = train(known, known.folds[-1], reading(settings(epochs=1, refit=False)))
    assert blind.fingerprint != made.fingerprint
    assert not blind.model.reads_profiles


def test_what_the_data_set_does_not_hold_is_asked_for_in_vain(world, settings):
    config = settings(epochs=1)
    with pytest.raises(ConfigError, match="tells no surfaces apart"):
        train_once(world, None, reading(config, surface=True), "test")
    with pytest.raises(ConfigError, match="names town, which the data set lacks"):
        train_once(told(world), None, reading(config, user_attributes=("sex", "town")), "test")


def test_the_data_set_and_the_frozen_set_keep_where_things_happened_and_forget_whose_it_was(
    world, tmp_path
):
    known = told(world)
    known.write(tmp_path / "dataset")
    again = Dataset.read(tmp_path / "dataset")
    np.testing.assert_array_equal(again.log.surfaces, known.log.surfaces)
    assert again.attributes is not None
    assert again.attributes.equals(known.attributes)
    frozen = freeze(known, ACTIONS, 10, 3)
    frozen.save(tmp_path / "frozen")
    loaded = EvaluationSet.load(tmp_path / "frozen")
    assert loaded.version == frozen.version
    rows = np.arange(len(frozen))
    asked, kept = frozen.histories(rows), loaded.histories(rows)
    np.testing.assert_array_equal(kept.surface, asked.surface)
    np.testing.assert_array_equal(kept.surfaces, asked.surfaces)
    # Each was asked for where the log says that the person was at that moment.
    history = known.log.of_types(ACTIONS.histories, ACTIONS)
    users = np.array([history.users.index(frozen.log.users[user]) for user in frozen.users])
    whole = history.asked(users, frozen.times, 10)
    np.testing.assert_array_equal(asked.surface, whole.surface)
    np.testing.assert_array_equal(asked.surfaces, whole.surfaces)
    plain = freeze(world, ACTIONS, 10, 3)
    assert plain.histories(rows).surface is None
    assert plain.version != frozen.version
