"""The proxy of long-term value, where early signals tell something and where they don't."""

from __future__ import annotations

import numpy as np
import pytest

from recommender.evaluation.long_term.estimators import proxy_of
from recommender.evaluation.long_term.policies import Sampled, TopicTaste
from recommender.evaluation.long_term.proxy import fit_proxy, validate_by_time
from recommender.evaluation.long_term.simulator import World


def _people(seed: int, informative: bool, people: int = 800):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(0, 1, people)
    signals = rng.normal(0, 1, (people, 3))
    if informative:
        signals[:, 1] += hidden
    return signals, 3 + 2 * hidden + rng.normal(0, 0.5, people), rng.integers(0, 100, people)


def test_a_linear_truth_is_recovered() -> None:
    x = np.random.default_rng(0).normal(2, 3, (500, 2))
    proxy = fit_proxy(x, 1 + 2 * x[:, 0] - x[:, 1], penalty=1e-9)
    assert proxy.predict(np.array([[4.0, 1.0]]))[0] == pytest.approx(8)


def test_informative_signals_predict_people_who_join_later() -> None:
    found = validate_by_time(*_people(0, True), horizon=30, test_from=60)
    assert found.r2 > 0.3
    assert found.rank > 0.55
    assert found.rank > found.repeat_rank + 0.3
    assert abs(found.bias) < 0.4


def test_signals_that_say_nothing_are_found_out() -> None:
    found = validate_by_time(*_people(0, False), horizon=30, test_from=60)
    assert found.r2 < 0.05


def test_nobody_is_fitted_on_whose_outcome_reaches_into_the_test() -> None:
    signals, value, joined = _people(0, True)
    before = validate_by_time(signals, value, joined, horizon=30, test_from=60)
    changed = value.copy()
    changed[(joined > 30) & (joined < 60)] = 1e6
    after = validate_by_time(signals, changed, joined, horizon=30, test_from=60)
    assert (before.proxy.weights == after.proxy.weights).all()
    assert before.fitted_on == (joined <= 30).sum()
    with pytest.raises(ValueError, match="0 people to fit on"):
        validate_by_time(signals, value, joined, horizon=90, test_from=60)


def test_in_the_simulated_world_two_weeks_tell_something_about_the_third_month() -> None:
    world = World.populated(2500, 150, 8, 0)
    journal = world.run([Sampled(TopicTaste(world.topics, world.quality), 5, 0.2)], 90, seed=1)
    found = proxy_of(journal)
    assert found.fitted_on + found.tested_on == 2500
    assert found.r2 > 0.1
    assert found.rank > found.repeat_rank
