"""How users are spread over the steps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from recommender.config.rollout import RolloutConfig
from serving.rollout.plan import Plan, least_users, plan, users_for


@given(percent=st.integers(1, 99), minimum=st.integers(8, 100))
def test_a_step_most_likely_brings_the_minimum_together(percent, minimum):
    share = min(percent, 100 - percent) / 100
    for reserve, chance in ((1.28, 0.88), (2.33, 0.975)):
        users = users_for(percent, minimum, reserve)
        assert binom.sf(minimum - 1, users, share) >= chance
        # And not by sheer numbers: with a third fewer it would not.
        assert binom.sf(minimum - 1, users * 2 // 3, share) < chance


def test_the_last_step_needs_no_more_than_the_minimum():
    assert users_for(100, 30) == 30


@given(users=st.integers(0, 5000), minimum=st.integers(2, 60))
def test_every_user_is_planned_for_once_and_the_deciding_step_gets_what_is_over(users, minimum):
    config = RolloutConfig(minimum_users_per_arm=minimum)
    made = plan(users, config)
    assert sorted([*made.left_out, *(step.percent for step in made.steps)]) == [5, 25, 50, 100]
    if not made.steps:
        assert users < least_users(config)
        return
    assert users >= least_users(config)
    assert sum(step.users for step in made.steps) == users
    assert all(step.users >= step.least for step in made.steps)
    for index, step in enumerate(made.steps):
        reserve = 2.33 if index == made.last_concurrent else 1.28
        assert step.least == users_for(step.percent, minimum, reserve)
        assert step.users == step.least or index == made.last_concurrent
    assert Plan.from_dict(made.to_dict()) == made


def test_small_shares_are_left_out_first():
    config = RolloutConfig()
    assert plan(2000, config).left_out == ()
    assert plan(500, config).left_out == (5,)
    assert plan(150, config).left_out == (5, 25)
    assert plan(50, config).steps == ()
