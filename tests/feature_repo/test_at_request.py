"""What is worked out at request time, and that its source stands alone in the registry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.views import views
from feature_repo.views.at_request import (
    days_since_last_event,
    demand_lift,
    relative_price,
    views_at_request,
)

DAY_MS = 86_400_000
NAN = float("nan")
VIEWS = views_at_request(views("/offline"))


def days(times, now):
    return days_since_last_event({"times": [times], "now_ms": [now]})["days_since_last_event"][0]


@given(st.lists(st.integers(-(2**52), 2**52), min_size=1), st.integers(-(2**52), 2**52))
def test_recency_is_the_time_since_the_newest_event_and_never_negative(times, now):
    assert days(times, now) == max(0, now - max(times)) / DAY_MS


def test_recency_of_nobody_and_of_a_question_without_a_moment_is_null():
    assert [days(None, 5), days([], 5), days([1], None)] == [None] * 3


def test_recency_of_many_comes_in_their_order():
    asked = {"times": [np.array([DAY_MS, 0]), None, [0]], "now_ms": [2 * DAY_MS] * 3}
    assert days_since_last_event(asked) == {"days_since_last_event": [1.0, None, 2.0]}


@pytest.mark.parametrize(
    ("price", "level", "wanted"),
    [
        (30.0, 10.0, 3.0),
        (0.0, 10.0, 0.0),
        (None, 10.0, None),
        (NAN, 10.0, None),
        (-1.0, 10.0, None),
        (3.0, None, None),
        (3.0, NAN, None),
        (3.0, 0.0, None),
    ],
)
def test_a_price_is_told_in_proportion_where_both_are_known(price, level, wanted):
    found = relative_price({"price": [price], "category_price": [level]})
    assert found == {"relative_price": [wanted]}


@pytest.mark.parametrize(
    ("level", "forecast", "wanted"),
    [
        (2.0, 3.0, 0.5),
        (2.0, 0.0, -1.0),
        (0.0, 3.0, None),
        (None, 3.0, None),
        (2.0, None, None),
        (NAN, 3.0, None),
        (2.0, NAN, None),
    ],
)
def test_a_lift_is_told_where_there_is_demand_to_compare_with(level, forecast, wanted):
    assert demand_lift({"level": [level], "forecast": [forecast]}) == {"demand_lift": [wanted]}


SAMPLES = {
    "user_recency": {"times": [[1, 2], None], "now_ms": [DAY_MS, DAY_MS]},
    "item_relative_price": {"price": [3.0, None], "category_price": [2.0, 1.0]},
    "item_demand_lift": {"level": [2.0, NAN], "forecast": [3.0, 1.0]},
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=lambda view: view.name)
def test_the_source_in_the_registry_stands_alone(view):
    # Feast runs the text; a name of this module in it would be missing there.
    names: dict[str, object] = {}
    exec(view.udf_string, names)
    (function,) = (names[name] for name in names if name != "__builtins__")
    assert function(SAMPLES[view.name]) == view.udf(SAMPLES[view.name])


@pytest.mark.parametrize("view", VIEWS.values(), ids=lambda view: view.name)
def test_a_definition_survives_the_registry(view):
    from feast.on_demand_feature_view import OnDemandFeatureView

    read = OnDemandFeatureView.from_proto(view.to_proto())
    assert read == view
    sample = SAMPLES[view.name]
    (feature,) = view.features
    found = read.feature_transformation.transform(sample)[feature.name]
    wanted = view.udf(sample)[feature.name]
    assert found == wanted
    assert not math.isnan(found[0])
    assert found[1] is None
