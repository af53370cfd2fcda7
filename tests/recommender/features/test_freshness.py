"""What is too old, and how it is said."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.config.freshness import FreshnessConfig
from recommender.errors import FeatureError, StorageError
from recommender.features.freshness import (
    Freshness,
    duration,
    must_be_fresh,
    newest_event,
    too_old,
)

HOUR = 3_600_000
NOW = 1_000 * HOUR


def record(view="user_sequence", *, age_h=0.0, lag_h=None, **more) -> Freshness:
    return Freshness(
        view,
        as_of_ms=NOW,
        published_ms=NOW - int(age_h * HOUR),
        rows=5,
        newest_event_ms=None if lag_h is None else NOW - int(lag_h * HOUR),
        **more,
    )


def said(*records: Freshness, **limits) -> list[str]:
    found = {each.view: each for each in records}
    return too_old(found, found, FreshnessConfig(**limits), NOW)


def test_without_limits_nothing_is_too_old_not_even_the_unknown():
    assert too_old({}, ["user_sequence"], FreshnessConfig(), NOW) == []
    assert not FreshnessConfig().limited


def test_what_is_exactly_as_old_as_the_limit_is_fresh():
    assert said(record(age_h=24), max_age_hours=24) == []
    (line,) = said(record(age_h=24.01), max_age_hours=24)
    assert "user_sequence last changed 1970-02-10 15:59:24 UTC" in line
    assert "1 d ago; the limit is 1 d (features.freshness.max_age_hours)" in line


def test_a_young_publication_of_old_data_lags():
    assert said(record(age_h=0, lag_h=3), max_age_hours=1) == []
    (line,) = said(record(age_h=0, lag_h=3), max_age_hours=1, max_lag_hours=2)
    assert "has no event after" in line
    assert "3 h ago; the limit is 2 h (features.freshness.max_lag_hours)" in line


def test_views_without_events_have_no_lag():
    assert said(record("item_text", age_h=0), max_lag_hours=1) == []


def test_a_view_of_its_own_takes_the_place_of_both_limits():
    own = {"item_text": {"max_age_hours": 48}}
    assert said(record("item_text", age_h=47), max_age_hours=1, views=own) == []
    (line,) = said(record("item_text", age_h=49), max_age_hours=1, views=own)
    assert "(features.freshness.views.item_text.max_age_hours)" in line
    # A limit left out there is none, also after the configuration travelled as JSON.
    limits = FreshnessConfig(max_lag_hours=1, views={"user_sequence": {"max_age_hours": 5}})
    again = FreshnessConfig.model_validate(json.loads(limits.model_dump_json()))
    assert again == limits
    assert too_old({"user_sequence": record(lag_h=9)}, ["user_sequence"], again, NOW) == []


def test_a_misspelt_view_is_refused():
    with pytest.raises(ValueError, match="item_txt"):
        FreshnessConfig(views={"item_txt": {"max_age_hours": 1}})


def test_what_was_never_recorded_is_too_old_where_there_is_a_limit():
    (line,) = too_old({}, ["item_trend"], FreshnessConfig(max_age_hours=1), NOW)
    assert line == "item_trend: no publication is recorded, so nobody knows how old it is"


def test_whoever_needs_fresh_features_is_told_every_view_and_what_to_do():
    found = {each.view: each for each in (record(age_h=50), record("item_text", age_h=30))}
    with pytest.raises(FeatureError) as caught:
        must_be_fresh(
            found,
            found,
            FreshnessConfig(max_age_hours=24),
            NOW,
            what="the live features of shop",
            remedy="publish them again",
        )
    message = str(caught.value)
    assert message.startswith("the live features of shop are stale:")
    assert "2 d 2 h ago" in message
    assert "1 d 6 h ago" in message
    assert message.endswith("→ publish them again")
    # A view that nobody is about to read stops nobody.
    limits = FreshnessConfig(max_age_hours=24)
    must_be_fresh(found, (), limits, NOW, what="", remedy="")


def test_streamed_events_keep_a_view_fresh_and_nothing_makes_it_older():
    old = record(age_h=48, lag_h=50)
    streamed = old.streamed(NOW - HOUR, NOW - 2 * HOUR)
    assert (streamed.age_s(NOW), streamed.lag_s(NOW)) == (3600, 7200)
    assert streamed.streamed(NOW - 5 * HOUR, NOW - 9 * HOUR) == streamed


@given(st.lists(st.tuples(st.integers(1, NOW), st.integers(1, NOW)), max_size=8), st.randoms())
def test_arrivals_in_any_order_and_twice_leave_the_same_record(arrivals, random):
    def after(order):
        found = record(age_h=900, lag_h=990)
        for arrived, newest in order:
            found = found.streamed(arrived, newest)
        return found

    shuffled = [*arrivals, *arrivals[:2]]
    random.shuffle(shuffled)
    assert after(shuffled) == after(arrivals)
    if arrivals:
        assert after(arrivals).arrived_ms == max(arrived for arrived, _ in arrivals)


def test_clocks_that_differ_give_no_negative_age():
    assert record(age_h=-1, lag_h=-1).age_s(NOW) == 0
    assert record(age_h=-1, lag_h=-1).lag_s(NOW) == 0


def test_a_record_survives_json_and_a_damaged_one_is_said():
    whole = record(lag_h=1, arrived_ms=5, data_version="d-1")
    assert Freshness.from_dict(json.loads(json.dumps(whole.to_dict())), "here") == whole
    for damage in ({"views": 1}, {**whole.to_dict(), "published_ms": "yesterday"}):
        with pytest.raises(StorageError, match="here is not a record of freshness"):
            Freshness.from_dict(damage, "here")


def test_the_newest_event_is_the_latest_of_all_lists():
    sequences = pa.table({"times": pa.array([[1, 9], [], None, [4]], pa.list_(pa.int64()))})
    assert newest_event(sequences) == 9
    assert newest_event(sequences.slice(0, 0)) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0 s"), (59.6, "1 min"), (3661, "1 h 1 min"), (86_400 * 400, "400 d")],
)
def test_lengths_of_time_are_written_for_people(seconds, text):
    assert duration(seconds) == text
