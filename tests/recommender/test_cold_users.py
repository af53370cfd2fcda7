"""What people without a history are shown: worked out by hand, the same wherever it is asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from tables_by_hand import configuration, tables

from recommender.artifact import Model
from recommender.baselines.cold_users import fit_cold_users
from recommender.baselines.popularity import Popularity
from recommender.cold_users import ColdUsers, Served
from recommender.errors import ConfigError
from recommender.evaluation.freeze import freeze
from recommender.evaluation.score import score
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog, Histories
from recommender.ranking import rank
from recommender.split import Fold

DAY = 86_400_000
CUT = 1_700_000_000_000
ITEMS = ("a", "b", "c", "d")
GERMAN = {"country": "DE"}
EVENTS = [
    ("u1", "a", "purchase", CUT - 9 * DAY),
    ("u1", "b", "purchase", CUT - 8 * DAY),
    ("u2", "a", "purchase", CUT - 7 * DAY),
    ("u2", "c", "click", CUT - 7 * DAY),
    ("u3", "c", "purchase", CUT - 6 * DAY),
    ("u3", "c", "purchase", CUT - 5 * DAY),
    ("u3", "c", "purchase", CUT - 4 * DAY),
    # After the cut: nothing of it may show.
    *[("u4", "d", "purchase", CUT + n) for n in range(9)],
]
PEOPLE = pa.table({"user": ["u1", "u2", "u3", "u4"], "country": ["DE", "DE", "FR", None]})
FOLD = Fold(CUT - DAY, CUT, CUT + DAY)


def dataset(config, people=None) -> Dataset:
    made = tables(EVENTS, items=ITEMS)
    log = EventLog.build(made.events, Catalogue(ITEMS), config.actions)
    text = np.zeros((4, 2), np.float32)
    return Dataset(log, made.items, text, (FOLD,), "v", "none", people)


def fitted(tmp_path, kind: str, people=None) -> ColdUsers | None:
    config = configuration(tmp_path, serving={"cold_users": kind})
    return fit_cold_users(dataset(config, people), FOLD, config)


def order(cold: ColdUsers, person=None) -> str:
    return "".join(ITEMS[row] for row in np.argsort(-cold.scores([person])[0], kind="stable"))


def test_what_is_popular_counts_successes_before_the_cut(tmp_path):
    assert fitted(tmp_path, "model") is None
    popular = fitted(tmp_path, "popular")
    assert popular.basis_of(None) == popular.basis_of(GERMAN) == "popular"
    assert order(popular) == "cabd"
    assert not popular.reads_profiles


def test_people_are_answered_by_who_they_are(tmp_path):
    cold = fitted(tmp_path, "profile", PEOPLE)
    assert cold.reads_profiles
    # Six successes in all, three of them of people from DE (a, b, a); a prior of a hundred keeps
    # so few near everybody's, so the lift of each item is small and has the right sign.
    scores = cold.scores([None, GERMAN, {"country": "FR"}, {"country": "IT", "age": "9"}])
    lift = scores[1] - scores[0]
    everybody = np.array([2, 1, 3, 0]) + 1e-3 * (1 + 1.5)
    share = everybody / everybody.sum()
    expected = np.log((np.array([2, 1, 0, 0]) + 100 * share) / (103 * share))
    np.testing.assert_allclose(lift, expected, atol=1e-5)
    assert lift[0] > 0 > lift[2]
    assert (scores[3] == scores[0]).all()
    assert cold.basis_of(GERMAN) == "profile"
    assert cold.basis_of({"country": "IT"}) == cold.basis_of(None) == "popular"


def test_by_profile_needs_attributes_of_people(tmp_path):
    with pytest.raises(ConfigError, match="no attributes of people"):
        fitted(tmp_path, "profile")


def test_only_people_without_history_are_answered_so():
    scorer = Popularity(Catalogue(ITEMS), np.array([4, 3, 2, 1], np.float32))
    everybody = np.array([0, 0, 0, 7], np.float32)
    cold = ColdUsers("popular", everybody, (), np.empty((0, 4), np.float32))
    histories = Histories.of([([0], [2], [1]), ([], [], [])], [9, 9])
    scores = Served(scorer, cold).scores(histories)
    np.testing.assert_array_equal(scores[0], [4, 3, 2, 1])
    assert scores[1].argmax() == 3
    nobody = Histories.of([([], [], [])] * 2, [9, 9])
    assert Served(scorer, cold).scores(nobody).argmax(axis=1).tolist() == [3, 3]


def test_it_is_part_of_the_model_and_of_its_evaluation(tmp_path):
    config = configuration(tmp_path, serving={"cold_users": "profile"})
    data = dataset(config, PEOPLE)
    scorer = Popularity(Catalogue(ITEMS), np.array([1, 2, 3, 4], np.float32))
    cold = fit_cold_users(data, FOLD, config)
    made = Model(scorer, ITEMS, config.actions, 5, cold=cold)
    made.save(tmp_path / "model")
    read = Model.load(tmp_path / "model")
    asked = Histories.of([([], [], [])], [CUT])
    for person in (None, GERMAN):
        served = rank(read.ranker, replace(asked, people=(person,)), 4, reads=5, exclude_seen=False)
        assert "".join(ITEMS[row] for row in served.items[0]) == order(cold, person)
    requests = freeze(data, config.actions, 5, 1)
    rows = requests.of_fold(0)
    assert requests.histories(rows).lengths.tolist() == [0]
    with_answer = score(read.ranker, 5, requests, rows, [1, 4], label="x")
    without = score(read.scorer, 5, requests, rows, [1, 4], label="x")
    # Popularity by itself puts d first, which is what u4 took; everybody's answer puts it last.
    assert without.top[0, 0] == ITEMS.index("d")
    assert with_answer.top[0].tolist() == [ITEMS.index(item) for item in order(cold)]
