from __future__ import annotations

from datetime import timedelta

import pytest
from quality_events import event, filled, outcome, values
from quality_tables import NOW, START, Row, settings, shop, spoiled

from recommender.errors import ConfigError
from recommender.quality.clean import clean


def test_keep_leaves_a_value_missing_and_says_how_many() -> None:
    rows, done = outcome([event(1, 1), event(2, 2, value=None)], value="keep")

    assert values(rows) == [3.0, None]
    assert [(r.column, r.policy, r.missing, r.left) for r in done] == [("value", "keep", 1, 1)]


def test_constant_fills_in_what_is_configured() -> None:
    constant = {"policy": "constant", "constant": 7}
    log = [event(1, 1), event(2, 2, value=None, position=None)]

    rows = filled(log, value=constant, position=constant)

    assert values(rows) == [3.0, 7.0]
    assert values(rows, "position") == [1, 7]


def test_median_is_that_of_the_same_event_type_before_the_first_test_cut() -> None:
    log = [
        event(1, 1, value=1.0),
        event(2, 2, value=2.0),
        event(3, 3, value=9.0),
        event(4, 4, value=50.0, event="view"),
        event(5, 5, value=None),
        event(6, 6, value=None, event="view"),
        event(7, 7, value=None, event="other"),
        event(8, 100, value=1000.0),
        event(9, 101, value=None),
    ]

    rows, done = outcome(log, value="median")

    assert values(rows)[4:7] == [2.0, 50.0, None]
    assert values(rows)[8] == 2.0
    record = done[0]
    assert (record.missing, record.filled, record.left) == (4, 3, 1)
    assert "rate: median 2 of 3" in record.how


def test_mode_takes_the_most_frequent_and_of_equals_the_smallest() -> None:
    log = [
        event(1, 1, surface="b"),
        event(2, 2, surface="a"),
        event(3, 3, surface=None),
        event(4, 200, surface="z"),
        event(5, 201, surface="z"),
        event(6, 202, surface="z"),
    ]

    assert values(filled(log, surface="mode"), "surface")[2] == "a"


def test_previous_carries_the_users_own_last_value_of_the_type_from_a_strictly_earlier_moment() -> (
    None
):
    log = [
        event(1, 1, value=1.0),
        event(2, 2, value=2.0, event="view"),
        event(3, 3, value=8.0, user_id="b"),
        event(4, 4, value=None),
        event(5, 4, value=5.0),
        event(6, 5, value=None),
        event(7, 0, value=None),
        event(8, 6, value=None, user_id="c"),
    ]

    rows, done = outcome(log, value="previous")

    # 4 must not see 5 (same moment), 6 does; 7 comes first, c has no past.
    assert values(rows) == [1.0, 2.0, 8.0, 1.0, 5.0, 5.0, None, None]
    assert (done[0].filled, done[0].left) == (2, 2)


def test_nothing_is_fitted_where_the_log_cannot_be_cut() -> None:
    rows, done = outcome([event(1, 1), event(2, 2, value=None)], None, value="median")

    assert values(rows) == [3.0, None]
    assert "can't be cut" in done[0].how


def test_an_event_type_that_cannot_be_filled_in_takes_its_row_along() -> None:
    rows, done = outcome([event(1, 1, event=None)], event="mode")

    assert rows == []
    assert (done[0].column, done[0].dropped) == ("event", 1)


def test_a_missing_time_is_interpolated_between_the_neighbours_in_source_order() -> None:
    log = [event(1, 10), event(2, None), event(3, None), event(4, 40), event(5, 50)]

    rows, done = outcome(log, time="interpolate")

    hours = [(row["time"] - START) / timedelta(hours=1) for row in rows]
    assert hours == [10, 20, 30, 40, 50]
    assert (done[0].missing, done[0].filled, done[0].dropped) == (2, 2, 0)


def test_a_missing_time_at_the_rim_of_a_users_log_takes_its_row_along() -> None:
    log = [
        event(1, None),
        event(2, 10),
        event(3, 20),
        event(4, None),
        event(5, None, user_id="b"),
    ]

    rows, done = outcome(log, time="interpolate")

    assert [row["event_id"] for row in rows] == ["e002", "e003"]
    assert (done[0].missing, done[0].filled, done[0].dropped) == (3, 0, 3)


def test_no_time_is_interpolated_across_the_first_test_cut() -> None:
    log = [event(1, 90), event(2, None), event(3, 110), event(4, None), event(5, 130)]
    early = [event(number, number, user_id="b") for number in range(10, 30)]

    rows = filled(log + early, time="interpolate")

    found = {row["event_id"]: row["time"] for row in rows}
    assert "e002" not in found
    assert found["e004"] == START + timedelta(hours=120)


def test_no_time_is_interpolated_where_source_order_says_nothing_of_time() -> None:
    hours = [5, 90, 3, 80, 1, 70, 2, 60]
    log = [event(number, hour) for number, hour in enumerate(hours)]
    log[3]["time"] = None

    rows, done = outcome(log, time="interpolate")

    assert len(rows) == 7
    assert done[0].dropped == 1
    assert "says nothing" in done[0].how


def test_ids_of_different_length_are_numbered_not_spelt() -> None:
    log = [
        event(0, 10, event_id="e9"),
        event(0, None, event_id="e10"),
        event(0, 30, event_id="e11"),
    ]

    rows = filled(log, time="interpolate")

    assert START + timedelta(hours=20) in values(rows, "time")


# ── Configuration ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("imputation", "said"),
    [
        ({"events": {"propensity": "median"}}, "propensity can't be median"),
        ({"events": {"value": "interpolate"}}, "value can't be interpolate"),
        ({"items": {"title": "model"}}, "title can't be model"),
        ({"events": {"value": {"policy": "constant"}}}, "constant goes with"),
        ({"events": {"surface": {"policy": "constant", "constant": 3}}}, "needs a text"),
        ({"items": {"price": {"policy": "constant", "constant": "dear"}}}, "needs a number"),
        ({"items": {"price": "guess"}}, "guess"),
    ],
)
def test_a_policy_that_makes_no_sense_for_a_column_is_refused(imputation: Row, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings(quality={"imputation": imputation})


def test_the_report_names_every_column_and_what_became_of_its_missing_values() -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for number in (3, 6, 9):
            events[number]["value"] = None
        for number in (100, 101):
            events[number]["time"] = None
        items[7]["price"] = None

    quality = {
        "imputation": {"events": {"value": "median", "time": "interpolate"}},
    }
    done = clean(spoiled(shop(), spoil), settings(quality=quality), NOW).imputed

    found = {f"{r.table}.{r.column}": r for r in done}
    assert (found["events.value"].missing - found["events.value"].left) == 3
    assert found["events.time"].missing == 2
    assert found["items.price"].filled == 1
    assert found["items.created"].how == "left missing: the source has no such column"
    assert found["items.price"].to_dict()["left"] == 0
