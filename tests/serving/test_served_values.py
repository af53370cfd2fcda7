"""Expected values on their way out: beside the right items, in both protocols, also when drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kserve import InferRequest
from tables_by_hand import configuration

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.config.exploration import ExplorationConfig
from recommender.features.sequences import Catalogue
from recommender.privacy import Pseudonyms
from recommender.workspace import Workspace
from serving import open_inference, told
from serving.ask import Ask
from serving.observer import Arrived
from serving.observing import Observing, Watch
from serving.ranking import Found, Ranker

ITEMS = tuple("abcdef")


class Rated(Popularity):
    """Knows what each item is rated, whoever asks: ten for the first one, one less for each more.

    The second event type has no value.
    """

    @property
    def value_names(self):
        return ("seconds", None, "rating")

    def expected_values(self, histories, items):
        values = np.full((*items.shape, 3), np.nan, np.float32)
        values[..., 0] = 100 + items
        values[..., 2] = 10 - items
        return values


@pytest.fixture
def ranker(tmp_path: Path) -> Ranker:
    config = configuration(tmp_path)
    assert config.actions.types == ("impression", "click", "purchase")
    scorer = Rated(Catalogue(ITEMS), np.arange(6, 0, -1).astype(np.float32))
    return Ranker(Model(scorer, ITEMS, config.actions, 4))


def test_every_item_comes_with_the_values_of_the_types_that_have_one(ranker: Ranker) -> None:
    ask = Ask(history=[], candidates=["d", "b", "nothing"])
    (answer,) = ranker.answer([ask], [Found()])
    assert ranker.valued == ("impression", "purchase")
    assert answer.items == ("b", "d")
    assert answer.values == {"impression": (101.0, 103.0), "purchase": (9.0, 7.0)}
    prediction = told.prediction(ask, answer, "r", "m")
    assert [item["values"] for item in prediction["items"]] == [
        {"impression": 101.0, "purchase": 9.0},
        {"impression": 103.0, "purchase": 7.0},
    ]
    assert prediction["value_names"] == {"impression": "seconds", "purchase": "rating"}
    # Of the chances this model says nothing.
    assert all(item["tasks"] is None for item in prediction["items"])


def test_tensors_carry_them_and_shorter_rows_end_in_nan(ranker: Ranker) -> None:
    asks = [Ask(history=[], k=3), Ask(history=[], k=3, exclude=["a", "b", "c", "d"])]
    answers = ranker.answer(asks, [Found(), Found()])
    request = InferRequest("ostinato", [])
    response = open_inference.response(request, "m", ["r1", "r2"], answers)
    ratings = response.get_output_by_name("value_purchase").as_numpy()
    np.testing.assert_array_equal(ratings, [[10, 9, 8], [6, 5, np.nan]])
    names = {tensor["name"] for tensor in open_inference.outputs(ranker.tasks, ranker.valued)}
    assert {output.name for output in response.outputs} == names


def test_a_list_that_is_drawn_keeps_each_value_with_its_item(ranker: Ranker) -> None:
    settings = Observing(exploration=ExplorationConfig(epsilon=0.9, pool=6))
    watch = Watch(settings, Workspace(Path("/nowhere")), names=Pseudonyms(b"x" * 16))
    observer = watch.of("m", "ostinato")
    asks = [Ask(history=[], k=3)] * 40
    arrived = Arrived.of(None)
    answers = ranker.answer(observer.widened(asks, arrived), [Found()] * 40)
    shown, _ = observer.finish(asks, [Found()] * 40, answers, arrived)
    assert len({answer.items for answer in shown}) > 5
    for answer in shown:
        assert answer.values is not None
        assert answer.values["purchase"] == tuple(10.0 - ITEMS.index(i) for i in answer.items)
