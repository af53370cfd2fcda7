"""Expected values: means within bounds, one per event type that has any."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.config.ranking import RankingConfig, ValueConfig
from recommender.model.values import ValueHead, joined_spread, spread_of

RATING = ValueConfig(name="rating", events=("rate", "like"), low=0.5, high=5)
DWELL = ValueConfig(name="dwell", events=("click",), loss="gamma")
TYPES = ("shown", "click", "rate", "like")
NAN = float("nan")


def head(given_MG: list[list[float]]) -> ValueHead:
    made = ValueHead((RATING, DWELL), len(TYPES), 4)
    made.measure(TYPES, torch.tensor(given_MG))
    return made


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.5, 5, width=32), min_size=2, max_size=20))
def test_every_loss_is_least_where_the_forecast_is_the_mean(values: list[float]) -> None:
    given_MG = torch.tensor([[value, value] for value in values])
    made = head(given_MG.tolist())
    # On the scale of the loss the mean is nought, for either of them.
    raw_G = torch.zeros(2, requires_grad=True)
    losses_G = made.losses(raw_G.expand(len(values), 2), given_MG)
    losses_G.sum().backward()
    assert raw_G.grad is not None
    np.testing.assert_allclose(raw_G.grad.numpy(), 0, atol=1e-4)
    beside = made.losses((raw_G + 0.5).expand(len(values), 2), given_MG)
    assert (beside > losses_G).all()
    np.testing.assert_allclose(made.expected(raw_G.detach()).numpy(), np.mean(values), rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.floats(0, 1e6, width=32) | st.just(NAN), max_size=9), min_size=1),
)
def test_parts_together_lie_as_the_whole_does(parts: list[list[float]]) -> None:
    each = [spread_of(torch.tensor(values).reshape(-1, 1)) for values in parts]
    together = [value for values in parts for value in values]
    whole = spread_of(torch.tensor(together).reshape(-1, 1))
    found = joined_spread(torch.stack(each))
    # A deviation is only as exact as the values are large.
    np.testing.assert_allclose(found.numpy(), whole.numpy(), rtol=1e-9, atol=1e-5)


def test_targets_without_a_value_cost_nothing() -> None:
    given_MG = torch.tensor([[4.0, NAN], [2.0, 30.0], [NAN, NAN]])
    made = head(given_MG.tolist())
    raw_MG = torch.zeros(3, 2, requires_grad=True)
    made.losses(raw_MG, given_MG).sum().backward()
    assert raw_MG.grad is not None
    assert torch.isfinite(raw_MG.grad).all()
    assert raw_MG.grad[2].tolist() == [0, 0]
    nothing = made.losses(torch.zeros(1, 2), torch.full((1, 2), NAN))
    assert nothing.tolist() == [0, 0]


def test_forecasts_stay_within_their_bounds_and_finite() -> None:
    made = head([[4.0, 10.0], [2.0, 30.0]])
    expected = made.expected(torch.tensor([[-1e9, -1e9], [1e9, 1e9]]))
    assert expected[:, 0].tolist() == [0.5, 5.0]
    assert torch.isfinite(expected).all()
    assert (expected[:, 1] > 0).all()


def test_event_types_have_the_value_of_their_kind_or_none() -> None:
    made = head([[4.0, 10.0], [2.0, 30.0]])
    told = made.by_event(torch.tensor([[3.5, 20.0]])).numpy()
    np.testing.assert_array_equal(told, [[NAN, 20.0, 3.5, 3.5]])


def test_a_value_that_is_always_the_same_is_foretold() -> None:
    made = head([[3.0, 0.0], [3.0, 0.0]])
    assert made.expected(torch.zeros(2)).tolist()[0] == 3.0
    assert torch.isfinite(made.losses(torch.zeros(1, 2), torch.tensor([[3.0, 0.0]]))).all()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"values": [RATING, RATING]}, "name occurs twice"),
        (
            {"values": [RATING, {"name": "stars", "events": ["like"]}]},
            "event type occurs twice",
        ),
        ({"values": [{"name": "rating", "events": ["like"], "low": 5, "high": 1}]}, "below high"),
        (
            {"values": [{"name": "dwell", "events": ["a"], "low": -1, "loss": "gamma"}]},
            "never negative",
        ),
        ({"values": [{"name": "x", "events": ["a", "a"]}]}, "names one twice"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RankingConfig.model_validate(wrong)
