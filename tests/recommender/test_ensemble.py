"""Rank fusion: worked out by hand, faithful to a single member, stored and served as one model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recommender.baselines.popularity import Popularity
from recommender.config import Config, parse
from recommender.ensemble import Ensemble, Member, places
from recommender.errors import ConfigError
from recommender.features.sequences import Catalogue, Histories
from recommender.ranking import rank
from recommender.scoring import top_k

ITEMS = Catalogue(("a", "b", "c", "d"))


class Knowing(Popularity):
    """Popularity that tells how likely things are, and remembers how much it was told."""

    read = 0

    @property
    def value_names(self):
        return (None, "rating")

    def action_probabilities(self, histories, items):
        self.read = int(histories.lengths.max())
        return np.stack([np.full(items.shape, 0.25), np.full(items.shape, 0.75)], axis=-1)

    def expected_values(self, histories, items):
        return np.stack([np.full(items.shape, np.nan), 10.0 - items], axis=-1)


def scorer(*scores: float) -> Knowing:
    return Knowing(ITEMS, np.array(scores, np.float32))


def member(name: str, *scores: float, weight: float = 1.0, reads: int = 9) -> Member:
    return Member(name, scorer(*scores), weight, reads)


def history(*items: int) -> Histories:
    return Histories.of([(items, [1] * len(items), range(len(items)))], [99])


def test_the_sum_of_reciprocal_places_is_that_of_the_paper() -> None:
    two = [member("unified", 9, 8, 7, 6), member("other", 1, 2, 4, 3, weight=2.0)]
    found = Ensemble(two, 60, False).scores(history())
    expected = [1 / 61 + 2 / 64, 1 / 62 + 2 / 63, 1 / 63 + 2 / 61, 1 / 64 + 2 / 62]
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_items_with_the_same_score_share_their_places() -> None:
    assert places(np.array([0, 5, 0, 0], np.float32)).tolist() == [3, 1, 3, 3]
    assert places(np.array([2, 2, 1, 1], np.float32)).tolist() == [1.5, 1.5, 3.5, 3.5]
    assert places(np.empty(0, np.float32)).tolist() == []


def test_what_was_seen_takes_no_place() -> None:
    scores = np.array([9, 8, 7, 6], np.float32)
    seen = np.array([0, 2], np.int32)
    # b and d are first and second of what can be shown; a lies before b, c between the two.
    assert places(scores, seen).tolist() == [0.5, 1, 1.5, 2]
    one = [member("unified", 9, 8, 7, 6)]
    found = Ensemble(one, 60, True).scores(history(0, 2))
    np.testing.assert_allclose(found, [[1 / 60.5, 1 / 61, 1 / 61.5, 1 / 62]], rtol=1e-6)


@given(
    arrays(np.float32, st.integers(1, 60), elements=st.integers(-9, 9).map(float)),
    st.floats(0.01, 100),
    st.floats(0.5, 1000),
)
def test_a_lone_member_ranks_as_it_does_alone(scores, weight, constant) -> None:
    items = Catalogue(tuple(f"i{row}" for row in range(len(scores))))
    alone = Knowing(items, scores)
    one = Ensemble([Member("unified", alone, weight, 5)], constant, False)
    found, _ = top_k(one.scores(history()), len(scores))
    expected, _ = top_k(alone.scores(history()), len(scores))
    np.testing.assert_array_equal(found, expected)


@given(arrays(np.float32, 12, elements=st.integers(-5, 5).map(float)), st.integers(0, 12))
def test_places_of_what_can_be_shown_are_those_without_the_seen(scores, count) -> None:
    seen = np.arange(count, dtype=np.int32)
    np.testing.assert_array_equal(places(scores, seen)[count:], places(scores[count:]))


def test_every_member_reads_as_far_back_as_it_was_made_for() -> None:
    first = member("unified", 1, 2, 3, 4, reads=2)
    both = Ensemble([first, member("other", 1, 1, 1, 1, reads=5)], 60, False)
    chances = both.action_probabilities(history(0, 1, 2, 3), np.array([[3, 0]]))
    assert chances.tolist() == [[[0.25, 0.75], [0.25, 0.75]]]
    assert first.scorer.read == 2
    assert both.value_names == (None, "rating")
    assert both.expected_values(history(), np.array([[3, 0]]))[..., 1].tolist() == [[7, 10]]


def test_a_score_that_is_no_number_is_counted_and_comes_last() -> None:
    broken = [member("unified", 1, 2, 3, 4), member("other", 1, np.nan, 2, 3)]
    found = rank(Ensemble(broken, 60, False), history(), 4, reads=9, exclude_seen=False)
    assert found.nonfinite == 1
    assert found.items[0].tolist() == [3, 2, 0, 1]


@pytest.mark.parametrize(
    ("members", "constant", "says"),
    [
        ([], 60, "different names"),
        ([member("a", 1, 2, 3, 4), member("a", 1, 2, 3, 4)], 60, "different names"),
        ([member("a", 1, 2, 3, 4, weight=0)], 60, "above nought"),
        ([member("a", 1, 2, 3, 4)], 0, "above nought"),
        ([Member("a", Popularity(ITEMS, np.ones(4, np.float32)), 1, 9)], 60, "can't tell actions"),
        (
            [
                member("a", 1, 2, 3, 4),
                Member("b", Popularity(Catalogue(("a",)), np.ones(1, np.float32)), 1, 9),
            ],
            60,
            "same items",
        ),
    ],
)
def test_what_makes_no_ensemble_is_refused(members, constant, says) -> None:
    with pytest.raises(ValueError, match=says):
        Ensemble(members, constant, False)


def test_the_configuration_refuses_unknown_members_and_weights_of_nought() -> None:
    for members in ({"nobody": 1.0}, {"popularity": 0.0}, {}):
        with pytest.raises(ConfigError, match="ensemble"):
            _config(members)


def _config(members: dict[str, float]) -> Config:
    return parse(
        {
            "name": "tiny",
            "source": {"kind": "synthetic"},
            "actions": {"types": ["click", "buy"], "success": ["buy"]},
            "training": {"ensemble": {"members": members}},
        },
        "test",
    )
