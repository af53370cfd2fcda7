"""What those whom somebody follows took: before the cut alone, of nobody who was forgotten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tables_by_hand import configuration, follow_table, tables

from recommender.artifact import Model
from recommender.baselines.cold_users import fit_cold_users
from recommender.baselines.popularity import Popularity
from recommender.cold_users import ColdUsers
from recommender.config import Config
from recommender.errors import ConfigError
from recommender.evaluation.contest import Contestant, hold
from recommender.features.build import build_dataset
from recommender.features.dataset import Dataset
from recommender.features.people import as_of
from recommender.features.sequences import Catalogue, Histories
from recommender.features.social import FOLLOWS, followed
from recommender.features.text import TextVectors
from recommender.followed_took import FOLLOWED_TOOK
from recommender.forgetting import forms
from recommender.forgetting.person import Person
from recommender.privacy import Pseudonyms
from recommender.split import Fold

DAY = 86_400_000
CUT = 1_700_000_000_000
ITEMS = ("a", "b", "c", "d")
NAMES = Pseudonyms(b"x" * 16)
FOLD = Fold(CUT - DAY, CUT, CUT + DAY)
EVENTS = [
    *[(f"crowd{n}", "a", "purchase", CUT - 9 * DAY) for n in range(4)],
    ("friend1", "d", "purchase", CUT - 8 * DAY),
    ("friend1", "d", "purchase", CUT - 7 * DAY),
    ("friend1", "b", "click", CUT - 7 * DAY),
    ("friend2", "d", "purchase", CUT - 6 * DAY),
    ("friend2", "b", "purchase", CUT - 6 * DAY),
    # At and after the cut: nothing of it may show.
    ("friend2", "c", "purchase", CUT),
    ("cold", "d", "purchase", CUT + 9),
]
EDGES = follow_table(
    [
        ("cold", "friend1", None),
        ("cold", "friend2", CUT - 6 * DAY - 1),
        ("crowd1", "stranger", CUT - 9 * DAY),
        # At the cut and after it nobody knows of these.
        ("crowd2", "friend1", CUT),
        ("crowd3", "friend2", CUT + DAY),
    ]
)


def dataset_of(config: Config, edges: pa.Table | None = EDGES) -> Dataset:
    made = replace(tables(EVENTS, items=ITEMS), follows=edges)
    text = TextVectors(np.zeros((4, 2), np.float32), ("",) * 4, ("",) * 4, "-", 0, 0, 4, 0.0)
    return replace(build_dataset(made, config, text, NAMES, "d-1"), folds=(FOLD,))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path, serving={"cold_users": "social"})


def told_of(dataset: Dataset, config: Config, cut: int) -> dict[str, dict[str, int]]:
    log = dataset.log.of_types(config.actions.successes, config.actions)
    told = followed(dataset.follows, log, dataset.catalogue, cut)
    return {user: json.loads(each.took) for user, each in told.items()}


def test_edges_of_a_data_set_are_pseudonyms(config: Config) -> None:
    found = dataset_of(config).follows
    assert found.schema.equals(FOLLOWS)
    assert found["user"].to_pylist() == list(NAMES.of_all(EDGES["user_id"].to_pylist()))
    assert found["followed_user"][2].as_py() == NAMES.of("stranger")
    assert found["since"].to_pylist()[:2] == [None, CUT - 6 * DAY - 1]


def test_each_followed_person_counts_once_and_only_what_was_taken_before_the_cut(
    config: Config,
) -> None:
    data = dataset_of(config)
    assert told_of(data, config, CUT) == {NAMES.of("cold"): {"d": 2, "b": 1}}
    later = told_of(data, config, CUT + 1)
    assert later[NAMES.of("cold")] == {"d": 2, "b": 1, "c": 1}
    assert told_of(data, config, CUT - 6 * DAY) == {NAMES.of("cold"): {"d": 1}}
    assert told_of(data, config, CUT - 9 * DAY) == {}


def test_an_edge_counts_from_the_moment_after_it_began(config: Config) -> None:
    data = dataset_of(config)
    early, late = (told_of(data, config, CUT + more) for more in (0, 1))
    assert NAMES.of("crowd2") not in early
    assert late[NAMES.of("crowd2")] == {"d": 1}
    assert NAMES.of("crowd3") not in late


def test_of_somebody_who_follows_everybody_only_the_latest_count(config: Config) -> None:
    crowd = [(f"p{n:03}", "a" if n < 100 else "b", "purchase", CUT - 900 + n) for n in range(600)]
    edges = follow_table([("cold", user, n) for n, (user, *_) in enumerate(crowd)])
    made = replace(tables(crowd, items=ITEMS), follows=edges)
    text = TextVectors(np.zeros((4, 2), np.float32), ("",) * 4, ("",) * 4, "-", 0, 0, 4, 0.0)
    data = build_dataset(made, config, text, NAMES, "d-1")
    assert told_of(data, config, CUT) == {NAMES.of("cold"): {"b": 500}}


def test_nothing_after_the_cut_changes_the_answer(config: Config) -> None:
    data = dataset_of(config)
    before = data.follows.filter(pc.less(pc.fill_null(data.follows["since"], 0), CUT))
    past = replace(data, log=data.log.before(CUT), follows=before)
    assert told_of(data, config, CUT) == told_of(past, config, CUT)
    lists = []
    for each in (data, past):
        cold = fit_cold_users(each, FOLD, config)
        lists.append(cold.scores(as_of(data.log, each, config.actions, CUT).people))
    np.testing.assert_array_equal(*lists)


def test_followed_people_are_a_group_with_a_small_prior(config: Config) -> None:
    cold = fit_cold_users(dataset_of(config), FOLD, config)
    person = {FOLLOWED_TOOK: '{"d": 2, "b": 1, "gone": 7}'}
    assert cold.reads_profiles
    assert cold.reads_follows
    assert cold.basis_of(person) == "social"
    assert cold.basis_of(None) == cold.basis_of({FOLLOWED_TOOK: '{"gone": 7}'}) == "popular"
    everybody, theirs = cold.scores([None, person])
    taken = np.array([4, 1, 0, 3]) + 1e-3 * (1 + 8 / 4)
    share = taken / taken.sum()
    lift = np.log((np.array([0, 1, 0, 2]) + 10 * share) / (13 * share))
    np.testing.assert_allclose(theirs - everybody, lift, atol=1e-5)
    assert np.argmax(everybody) == 0
    assert np.argmax(theirs) == 3


def test_the_answer_is_stored_without_any_person(config: Config, tmp_path: Path) -> None:
    data = dataset_of(config)
    cold = fit_cold_users(data, FOLD, config)
    popular = Popularity(data.catalogue, np.array([4, 1, 0, 3], np.float32))
    Model(popular, ITEMS, config.actions, 5, cold=cold).save(tmp_path / "model")
    for file in (tmp_path / "model").iterdir():
        assert not any(user.encode() in file.read_bytes() for user in data.log.users)
    loaded = Model.load(tmp_path / "model")
    nobody = replace(Histories.of([([], [], [])], [CUT]), people=({FOLLOWED_TOOK: '{"d": 2}'},))
    assert loaded.reads_profiles is False
    assert int(loaded.ranker.scores(nobody)[0].argmax()) == 3
    assert loaded.basis_of(nobody.people[0]) == "social"


def test_a_contest_asks_as_of_the_cut(config: Config) -> None:
    data = dataset_of(config)

    def fit(dataset: Dataset, fold: Fold, config: Config) -> Model:
        alike = Popularity(dataset.catalogue, np.ones(4, np.float32))
        cold = fit_cold_users(dataset, fold, config)
        return Model(alike, ITEMS, config.actions, 5, cold=cold)

    plain = config.model_copy(
        update={"serving": config.serving.model_copy(update={"cold_users": "popular"})}
    )
    contest = hold(data, [Contestant("social", fit, config), Contestant("all", fit, plain)], config)
    # Asked are `cold`, who took d, and friend2, who has a history.
    social, popular = (system.metrics["hr@5"].estimate for system in contest.panel.systems)
    assert social == popular == 1
    first, second = (system.metrics["ndcg@10"].estimate for system in contest.panel.systems)
    assert first > second


def test_forgetting_takes_whoever_follows_and_whoever_is_followed(
    config: Config, tmp_path: Path
) -> None:
    data = dataset_of(config)
    data.write(tmp_path / "data")
    edges = tmp_path / "data" / "follows.parquet"
    # Whoever is not in the log is not in the file.
    assert pq.read_table(edges).num_rows == 4
    assert forms.erase(edges, Person.of("friend1", NAMES)) == 2
    left = Dataset.read(tmp_path / "data")
    assert left.follows["followed_user"].to_pylist() == [NAMES.of("friend2")] * 2
    assert forms.erase(edges, Person.of("cold", NAMES)) == 1
    left = Dataset.read(tmp_path / "data")
    assert left.follows["user"].to_pylist() == [NAMES.of("crowd3")]
    # The next data set, made without friend2's events, holds no edge to them either.
    gone = data.log.user_of_event != data.log.users.index(NAMES.of("friend2"))
    without = replace(data, log=data.log.where(gone))
    assert told_of(without, config, CUT) == {NAMES.of("cold"): {"d": 1}}


def test_a_data_set_without_a_follow_graph_is_written_as_ever_and_refuses_social(
    config: Config, tmp_path: Path
) -> None:
    data = dataset_of(config, None)
    data.write(tmp_path / "data")
    assert not (tmp_path / "data" / "follows.parquet").exists()
    assert Dataset.read(tmp_path / "data").follows is None
    with pytest.raises(ConfigError, match="no follow graph"):
        fit_cold_users(data, FOLD, config)
    plain = ColdUsers("popular", np.ones(4, np.float32), (), np.empty((0, 4), np.float32))
    assert plain.settings() == {"basis": "popular", "groups": []}
    assert plain.basis_of({FOLLOWED_TOOK: '{"a": 1}'}) == "popular"
    again = ColdUsers.restore(plain.settings(), plain.weights(), Catalogue(ITEMS))
    np.testing.assert_array_equal(again.scores([None]), plain.scores([None]))
