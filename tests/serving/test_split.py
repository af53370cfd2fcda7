"""The split is sticky, in proportion, and grows without moving anybody who is in."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.routes import Arm
from serving.split import ranked

USERS = [f"user-{number}" for number in range(4000)]


def arms(**weights: float) -> list[Arm]:
    return [Arm(f"http://127.0.0.1:{1000 + n}", v, w) for n, (v, w) in enumerate(weights.items())]


def chosen(version: str, split: list[Arm], salt: str = "") -> set[str]:
    return {user for user in USERS if ranked(split, salt, user)[0].version == version}


@pytest.mark.parametrize("percent", [5, 25, 50, 100])
def test_an_arm_gets_its_share_of_the_users(percent: int) -> None:
    share = len(chosen("new", arms(old=100 - percent, new=percent))) / len(USERS)
    # Four standard errors of a binomial of 4000.
    assert abs(share - percent / 100) <= 4 * (percent / 100 * (1 - percent / 100) / 4000) ** 0.5


def test_whoever_is_in_five_percent_is_in_every_larger_share() -> None:
    shares = [chosen("new", arms(old=100 - p, new=p)) for p in (5, 25, 50, 75, 100)]
    assert all(small < large for small, large in itertools.pairwise(shares))


@given(
    st.text(min_size=1),
    st.lists(st.floats(0.1, 100), min_size=2, max_size=5),
    st.data(),
)
def test_growing_one_weight_moves_users_to_that_arm_only(
    user: str, weights: list[float], data: st.DataObject
) -> None:
    before = arms(**{f"v{n}": weight for n, weight in enumerate(weights)})
    grown = data.draw(st.integers(0, len(weights) - 1))
    factor = data.draw(st.floats(1, 50))
    after = [
        Arm(a.url, a.version, a.weight * (factor if n == grown else 1))
        for n, a in enumerate(before)
    ]
    was, now = ranked(before, "s", user)[0], ranked(after, "s", user)[0]
    assert now.version in (was.version, f"v{grown}")


@given(st.text(min_size=1), st.permutations(range(4)))
def test_neither_order_nor_port_decides(user: str, order: list[int]) -> None:
    split = arms(a=10, b=20, c=30, d=40)
    moved = [Arm(f"http://127.0.0.1:{9000 + n}", split[n].version, split[n].weight) for n in order]
    assert [a.version for a in ranked(split, "", user)] == [
        a.version for a in ranked(moved, "", user)
    ]


def test_another_salt_or_another_candidate_draws_other_users() -> None:
    split = arms(old=90, new=10)
    first, salted = chosen("new", split), chosen("new", split, salt="again")
    renamed = chosen("newer", arms(old=90, newer=10))
    for other in (salted, renamed):
        # Independent draws of 10 % share about 10 % of each other.
        assert len(first & other) < 0.3 * len(first)
    assert chosen("new", split) == first


def test_an_arm_without_weight_gets_nobody() -> None:
    assert chosen("new", arms(old=100, new=0)) == set()
