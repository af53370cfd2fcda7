"""An event is taken as it is, or rejected with the field and the value that are wrong."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from feature_repo.stream.event import RejectedEventError, StreamEvent, read_event
from feature_repo.stream.rules import EventRules
from recommender.errors import FeatureError

NOW = 1_700_000_000_000
RULES = EventRules(("impression", "click"), ("click",), limit=5, future_ms=60_000, longest=20)
GIVEN = {"event_id": "e1", "user_id": "u1", "item_id": "a", "event": "click", "time": NOW}


def read(**fields):
    return read_event({**GIVEN, **fields}, RULES, NOW)


def rejected(**fields) -> RejectedEventError:
    with pytest.raises(RejectedEventError) as told:
        read(**fields)
    return told.value


def test_every_canonical_field_is_taken():
    assert read(value=4, surface="home", position=3.0, propensity=0.5) == StreamEvent(
        "e1", "u1", "a", "click", NOW, 4.0, "home", 3, 0.5
    )


def test_optional_fields_may_be_missing_or_null_and_others_are_ignored():
    assert read(value=None, surface=None, colour="red") == StreamEvent(
        "e1", "u1", "a", "click", NOW
    )


@pytest.mark.parametrize(
    "time",
    [
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:20.000+00:00",
        "2023-11-15T06:13:20.0009+08:00",
        datetime(2023, 11, 15, 6, 13, 20, tzinfo=timezone(timedelta(hours=8))),
        float(NOW),
    ],
)
def test_a_moment_is_utc_milliseconds_however_it_is_written(time):
    assert read(time=time).time == NOW


@examples(st.datetimes(timezones=st.timezones()))
def test_any_moment_is_cut_to_whole_milliseconds(moment):
    if moment.timestamp() * 1000 < NOW:
        whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        try:
            assert read(time=moment).time == whole
        except RejectedEventError:
            assert moment.year < 2


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"event_id": None}, "event_id", "missing"),
        ({"user_id": ""}, "user_id", "missing"),
        ({"item_id": 7}, "item_id", "int, not text"),
        ({"user_id": "u" * 21}, "user_id", "21 characters, more than 20"),
        ({"event_id": "a\0b"}, "event_id", "control character"),
        ({"item_id": "\ud800"}, "item_id", "not valid Unicode"),
        ({"event": "hover"}, "event", "unknown event type; known are impression, click"),
        ({"event": ["click"]}, "event", "list, not text"),
        ({"time": None}, "time", "missing"),
        ({"time": "yesterday"}, "time", "no ISO 8601 moment"),
        ({"time": "2023-11-14T22:13:20"}, "time", "without a time zone"),
        ({"time": math.nan}, "time", "no whole number of milliseconds"),
        ({"time": math.inf}, "time", "no whole number of milliseconds"),
        ({"time": 0.5}, "time", "no whole number of milliseconds"),
        ({"time": True}, "time", "bool, not a moment"),
        ({"time": -(10**15)}, "time", "before the year 1"),
        ({"time": NOW + 61_000}, "time", "61 s ahead of this machine's clock"),
        ({"time": 10**300}, "time", "ahead of this machine's clock"),
        ({"value": "4"}, "value", "str, not a number"),
        ({"value": math.nan}, "value", "not a finite 32-bit number"),
        ({"value": 1e39}, "value", "not a finite 32-bit number"),
        ({"value": 10**400}, "value", "not a finite 32-bit number"),
        ({"position": -1}, "position", "not a whole number"),
        ({"position": 1.5}, "position", "not a whole number"),
        ({"position": 2**31}, "position", "not a whole number"),
        ({"propensity": 0}, "propensity", "no probability"),
        ({"propensity": 1.1}, "propensity", "no probability"),
        ({"surface": 3}, "surface", "int, not text"),
    ],
)
def test_what_is_wrong_is_rejected_by_field_and_value(fields, field, reason):
    told = rejected(**fields)
    assert told.field == field
    assert told.message.startswith(f"{field} is ")
    assert reason in told.message


def test_a_moment_within_the_tolerance_is_taken():
    assert read(time=NOW + 60_000).time == NOW + 60_000


def test_a_long_wrong_value_is_shown_in_part():
    assert len(rejected(user_id="x" * 10_000).message) < 200


@pytest.mark.parametrize("given", [None, 7, "click", [GIVEN]])
def test_what_is_no_event_at_all_is_rejected(given):
    with pytest.raises(RejectedEventError, match="not a set of named fields"):
        read_event(given, RULES, NOW)


@examples(
    st.dictionaries(
        st.sampled_from(list(StreamEvent._fields)),
        st.one_of(st.none(), st.text(), st.floats(), st.integers(), st.lists(st.text())),
    )
)
def test_whatever_is_sent_is_taken_or_rejected(fields):
    try:
        made = read(**fields)
    except RejectedEventError as error:
        made, wrong = None, error.field
    if made is None:
        assert wrong in StreamEvent._fields
    else:
        assert made.time <= NOW + RULES.future_ms
        assert made.event_id.encode()


def test_a_value_is_rounded_as_the_store_does():
    assert read(value=0.1).in_sequence(7).value == 0.10000000149011612
    assert math.isnan(read().in_sequence(7).value)


def test_rules_travel_as_text():
    assert EventRules.from_text(RULES.to_text()) == RULES
    assert EventRules.from_tags({"event_rules": RULES.to_text()}) == RULES


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"types": 3}'])
def test_rules_that_cannot_be_read_are_said(text):
    with pytest.raises(FeatureError, match="can't be read"):
        EventRules.from_text(text)


def test_definitions_without_rules_say_what_to_do():
    with pytest.raises(FeatureError, match="does not say what events") as told:
        EventRules.from_tags({})
    assert "feature_repo.environment" in told.value.hint
