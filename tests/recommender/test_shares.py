"""Worth that is shared out: it adds up, and is exact where parts work alone or in pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recommender.explain.shares import EXACT, first_and_last, shapley, shared_out

NUMBERS = st.floats(-50, 50, allow_nan=False)


def names_of(count: int) -> tuple[str, ...]:
    return tuple(f"p{place}" for place in range(count))


@st.composite
def games(draw):
    """Any worth of up to six parts: a table of all coalitions."""
    names = names_of(draw(st.integers(0, 6)))
    table = draw(arrays(np.float64, (2 ** len(names), 2), elements=NUMBERS))
    return names, lambda shown: table[
        sum(1 << place for place, n in enumerate(names) if n in shown)
    ]


@st.composite
def games_of_pairs(draw):
    """Parts that are worth something alone, and more or less beside one other."""
    count = draw(st.integers(1, 6))
    alone = draw(arrays(np.float64, count, elements=NUMBERS))
    beside = np.triu(draw(arrays(np.float64, (count, count), elements=NUMBERS)), 1)
    names = names_of(count)

    def worth(shown):
        there = np.array([name in shown for name in names])
        return np.array([7.0 + alone @ there + there @ beside @ there])

    return names, worth


@pytest.mark.parametrize("way", [shapley, first_and_last, shared_out])
@given(game=games())
@settings(max_examples=50)
def test_shares_add_up_to_what_all_are_worth_over_none(way, game):
    names, worth = game
    shares = way(worth, names)
    assert tuple(shares) == names
    total = sum(shares.values(), np.zeros(2))
    np.testing.assert_allclose(total, worth(frozenset(names)) - worth(frozenset()), atol=1e-9)


@given(games_of_pairs())
def test_first_and_last_is_the_value_of_shapley_where_parts_work_in_pairs(game):
    names, worth = game
    exact, found = shapley(worth, names), first_and_last(worth, names)
    for name in names:
        np.testing.assert_allclose(found[name], exact[name], atol=1e-9)


@pytest.mark.parametrize("together", range(1, 7))
def test_parts_that_only_work_together_share_evenly_and_others_get_nothing(together):
    names = names_of(6)

    def worth(shown):
        return np.array([float(shown.issuperset(names[:together]))])

    shares = first_and_last(worth, names)
    for place, name in enumerate(names):
        assert shares[name] == pytest.approx(1 / together if place < together else 0)


def test_the_value_of_shapley_is_that_of_a_game_worked_out_by_hand():
    # A left glove and two right ones: a pair is worth 1 (Shapley's own kind of example).
    shares = shapley(
        lambda shown: np.array([float("left" in shown and len(shown) > 1)]), ("left", "r1", "r2")
    )
    assert [float(shares[name][0]) for name in ("left", "r1", "r2")] == pytest.approx(
        [2 / 3, 1 / 6, 1 / 6]
    )


def test_few_parts_are_shared_out_exactly_and_many_by_few_questions():
    asked = []

    def worth(shown):
        asked.append(shown)
        return np.array([float(len(shown) >= 2)])

    exact = shared_out(worth, names_of(EXACT))
    assert [float(share[0]) for share in exact.values()] == pytest.approx([1 / EXACT] * EXACT)
    assert len(asked) == 2**EXACT
    asked.clear()
    shared_out(worth, names_of(15))
    assert len(asked) == 2 * 15 + 2
