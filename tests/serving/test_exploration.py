"""Propensities of the exploration policy are exact: against frequencies and against each other."""

from __future__ import annotations

from itertools import permutations
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.config.exploration import ExplorationConfig
from serving.exploration import Exploration, _probabilities, list_probability, seeded

EPSILONS = st.floats(0.001, 0.999)


def policy(epsilon: float, pool: int) -> Exploration:
    return Exploration(ExplorationConfig(epsilon=epsilon, pool=pool))


@given(EPSILONS, st.integers(2, 6), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_the_probabilities_of_all_lists_add_up_to_one_and_are_products_of_conditionals(
    epsilon: float, count: int, places: int
) -> None:
    places = min(places, count)
    total = 0.0
    marginals = np.zeros((places, count))
    for order in permutations(range(count), places):
        conditional, marginal = _probabilities(np.array(order), count, epsilon)
        whole = float(conditional.prod())
        assert whole == pytest.approx(list_probability(order, count, epsilon))
        total += whole
        marginals[np.arange(places), list(order)] += whole
        assert marginal[0] == pytest.approx(conditional[0])
    assert total == pytest.approx(1)
    # Summing over everything else gives the closed form, and every item has its floor.
    rolled = np.roll(np.arange(count), -1)[:places]
    elsewhere = _probabilities(rolled, count, epsilon)[1]
    for place in range(places):
        assert marginals[place].sum() == pytest.approx(1)
        assert marginals[place].min() == pytest.approx(epsilon / count)
        assert elsewhere[place] == pytest.approx(marginals[place, rolled[place]])


@given(EPSILONS, st.integers(2, 8), st.data())
@settings(max_examples=60, deadline=None)
def test_at_every_place_the_conditionals_add_up_to_one_over_what_is_left(
    epsilon: float, count: int, data: st.DataObject
) -> None:
    above = data.draw(st.permutations(range(count)))
    place = data.draw(st.integers(0, count - 1))
    left = set(range(count)) - set(above[:place])
    total = 0.0
    for item in left:
        order = np.array([*above[:place], item])
        total += _probabilities(order, count, epsilon)[0][-1]
    assert total == pytest.approx(1)


def test_lists_come_as_often_as_their_propensities_say() -> None:
    explore, draws = policy(0.4, 4), 20_000
    random = Random(5)
    scores = [1.0, 9.0, 3.0, 9.0]  # a tie: the first of the two is the better
    seen: dict[tuple[int, ...], int] = {}
    said: dict[tuple[int, ...], float] = {}
    for _ in range(draws):
        chosen = explore.choose(scores, 2, random)
        key = tuple(chosen.positions.tolist())
        seen[key] = seen.get(key, 0) + 1
        said[key] = float(chosen.propensities.prod())
    assert len(seen) == 12
    assert max(seen, key=seen.__getitem__) == (1, 3)
    for key, count in seen.items():
        error = np.sqrt(said[key] * (1 - said[key]) / draws)
        assert abs(count / draws - said[key]) < 4.5 * error, key


@given(
    st.lists(st.floats(allow_nan=True, width=32), max_size=12),
    st.integers(1, 15),
    st.floats(0, 0.99),
    st.integers(1, 9),
    st.text(max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_a_list_holds_different_usable_items_and_is_the_same_for_the_same_request(
    scores: list[float], k: int, epsilon: float, pool: int, request: str
) -> None:
    explore = policy(epsilon, pool)
    chosen = explore.choose(scores, k, seeded(request))
    usable = int(np.isfinite(scores).sum()) if scores else 0
    assert len(chosen.positions) == min(k, usable)
    assert len(set(chosen.positions.tolist())) == len(chosen.positions)
    assert np.isfinite(np.array(scores, float)[chosen.positions]).all()
    assert ((chosen.propensities > 0) & (chosen.propensities <= 1 + 1e-12)).all()
    assert ((chosen.marginals > 0) & (chosen.marginals <= 1 + 1e-12)).all()
    again = explore.choose(scores, k, seeded(request))
    assert all((a == b).all() for a, b in zip(chosen, again, strict=True))
    # Nothing outside the pool, unless the list is longer than it.
    best = sorted(np.array(scores, float)[chosen.positions].tolist(), reverse=True)
    finite = sorted((s for s in scores if np.isfinite(s)), reverse=True)[: max(k, pool)]
    assert set(best) <= set(finite)


def test_without_exploration_the_best_are_shown_in_order_and_could_not_have_been_others() -> None:
    chosen = policy(0.0, 20).choose([1.0, -np.inf, 3.0, 2.0], 3, seeded("any"))
    assert chosen.positions.tolist() == [2, 3, 0]
    assert chosen.propensities.tolist() == chosen.marginals.tolist() == [1.0, 1.0, 1.0]
    assert policy(0.0, 20).name == "greedy"
    assert policy(0.0, 20).candidates(5) == 5
    alone = policy(0.5, 20).choose([7.0], 1, seeded("any"))
    assert alone.propensities.tolist() == alone.marginals.tolist() == [1.0]


def test_a_list_of_no_places_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places"):
        policy(0.1, 5).choose([1.0], 0, seeded("any"))


def test_what_exploring_costs_is_its_share_of_the_lists_times_what_a_draw_loses() -> None:
    """NDCG at the default settings, relevance falling off with rank as models' lists do."""
    explore, random = Exploration(ExplorationConfig()), Random(3)
    gains = 1 / np.arange(1, 101)
    scores, discount = gains, 1 / np.log2(np.arange(2, 12))
    greedy = float((gains[:10] * discount).sum())
    shown = [explore.choose(scores, 10, random).positions for _ in range(20_000)]
    got = float(np.mean([(gains[rows] * discount).sum() for rows in shown]))
    drawn = float(gains[:20].mean() * discount.sum())
    assert got / greedy == pytest.approx(1 - 0.05 * (1 - drawn / greedy), abs=0.003)
    assert got / greedy > 0.97
