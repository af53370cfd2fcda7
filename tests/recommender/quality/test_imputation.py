from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from quality_tables import NOW, START, Row, of_rows, settings, shop, spoiled

from recommender.config.imputation import EventImputation, ItemImputation
from recommender.errors import ConfigError
from recommender.quality.clean import clean
from recommender.quality.imputation import Imputed, fill_events, fill_items

HORIZON = round((START + timedelta(hours=100)).timestamp() * 1000)


def event(number: int, hour: float | None, **more: object) -> Row:
    sound: Row = {
        "event_id": f"e{number:03d}",
        "user_id": "a",
        "item_id": "i0",
        "event": "rate",
        "time": None if hour is None else START + timedelta(hours=hour),
        "value": 3.0,
        "surface": "home",
        "position": 1,
        "propensity": 0.5,
    }
    return {**sound, **more}


def filled(log: list[Row], horizon: int | None = HORIZON, **policies: object) -> list[Row]:
    return outcome(log, horizon, **policies)[0]


def outcome(
    log: list[Row], horizon: int | None = HORIZON, **policies: object
) -> tuple[list[Row], tuple[Imputed, ...]]:
    events = of_rows(log, [], []).events
    table, done = fill_events(events, EventImputation.model_validate(policies), horizon)
    return table.to_pylist(), done


def values(rows: list[Row], column: str = "value") -> list[object]:
    return [row[column] for row in rows]


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


# ── Items ────────────────────────────────────────────────────────────────────────────────────


def items_filled(
    catalogue: list[Row], log: list[Row], **policies: object
) -> tuple[list[Row], tuple[Imputed, ...]]:
    tables = of_rows(log, catalogue, [])
    chosen = ItemImputation.model_validate(policies)
    table, done = fill_items(tables.items, tables.events, chosen, HORIZON)
    return table.to_pylist(), done


def item(name: str, price: float | None, **more: object) -> Row:
    sound: Row = {
        "item_id": name,
        "title": "a title",
        "text": None,
        "categories": ["c"],
        "brand": "b",
        "price": price,
        "created": None,
    }
    return {**sound, **more}


def test_prices_are_fitted_only_on_items_known_before_the_first_test_cut() -> None:
    early, late = START + timedelta(hours=1), START + timedelta(hours=300)
    catalogue = [
        item("created before", 2.0, created=early),
        item("seen before", 4.0),
        item("created after", 1000.0, created=late),
        item("seen after", 2000.0),
        item("created after, seen before?", 3000.0, created=late),
        item("asked", None),
    ]
    log = [
        event(1, 1, item_id="seen before"),
        event(2, 2, item_id="created after, seen before?"),
        event(3, 200, item_id="seen after"),
    ]

    rows, done = items_filled(catalogue, log, price="median")

    assert rows[5]["price"] == 3.0
    record = next(r for r in done if r.column == "price")
    assert (record.missing, record.filled, record.left) == (1, 1, 0)


def test_a_constant_category_becomes_the_only_one() -> None:
    catalogue = [item("x", 1.0, categories=None), item("y", 1.0)]
    other = {"policy": "constant", "constant": "other"}

    rows, _ = items_filled(catalogue, [event(1, 1)], categories=other)

    assert [row["categories"] for row in rows] == [["other"], ["c"]]


def priced_catalogue(count: int) -> tuple[list[Row], list[Row]]:
    """Toys cost 5, tools 80; every tenth price is missing."""
    catalogue = [
        item(
            f"i{row}",
            None if row % 10 == 3 else (5.0 if row % 2 else 80.0),
            categories=["toys" if row % 2 else "tools"],
            title="t" * (1 + row % 7),
        )
        for row in range(count)
    ]
    return catalogue, [event(row, row / 10, item_id=f"i{row}") for row in range(count)]


def test_the_price_model_learns_what_the_category_says() -> None:
    catalogue, log = priced_catalogue(200)

    rows, done = items_filled(catalogue, log, price="model")

    asked = [row["price"] for row in rows if int(row["item_id"][1:]) % 10 == 3]
    assert len(asked) == 20
    assert asked == pytest.approx([5.0] * 20, rel=0.05)
    record = next(r for r in done if r.column == "price")
    assert (record.missing, record.filled) == (20, 20)
    assert "gradient boosting on 180 prices" in record.how
    assert "median error on a held-out fifth" in record.how


def test_the_price_model_gives_way_to_the_median_where_few_prices_are_known() -> None:
    catalogue, log = priced_catalogue(30)

    rows, done = items_filled(catalogue, log, price="model")

    known = [row["price"] for row in catalogue if row["price"] is not None]
    assert rows[3]["price"] == float(np.median(known))
    assert "too few" in next(r for r in done if r.column == "price").how


def test_the_price_model_gives_the_mean_where_nothing_tells_items_apart() -> None:
    catalogue = [item(f"i{row}", 9.0 if row else None) for row in range(100)]
    log = [event(row, 1, item_id=f"i{row}") for row in range(100)]

    rows, _ = items_filled(catalogue, log, price="model")

    assert rows[0]["price"] == pytest.approx(9.0)


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


# ── Properties ───────────────────────────────────────────────────────────────────────────────

_HOURS = st.integers(0, 99)
_LOG = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.one_of(st.none(), _HOURS),
        st.one_of(st.none(), st.integers(1, 5).map(float)),
        st.sampled_from([None, "home", "search"]),
        st.one_of(st.none(), st.integers(0, 9)),
        st.sampled_from([None, "view", "rate"]),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=30,
)
_PLANTED = st.lists(
    st.tuples(
        st.sampled_from("abz"),
        st.integers(100, 180),
        st.one_of(st.none(), st.just(1e6)),
        st.sampled_from([None, "future"]),
        st.one_of(st.none(), st.just(77)),
        st.sampled_from(["view", "rate"]),
        st.integers(0, 9),
        st.integers(0, 300),
    ),
    max_size=12,
)
_POLICIES = st.fixed_dictionaries(
    {
        "event": st.sampled_from(["drop", "mode"]),
        "time": st.sampled_from(["drop", "interpolate"]),
        "value": st.sampled_from(["keep", "median", "mode", "previous"]),
        "surface": st.sampled_from(["mode", "previous"]),
        "position": st.sampled_from(["median", "mode", "previous"]),
    }
)


def _in_order(log: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """The same log with its known times running forward: only then are times interpolated."""
    hours = iter(sorted(row[1] for row in log if row[1] is not None))  # type: ignore[type-var]
    return [(row[0], None if row[1] is None else next(hours), *row[2:]) for row in log]


def _shop_of(log: list[tuple[object, ...]], planted: list[tuple[object, ...]]) -> list[Row]:
    """Events in source order; ids leave room, so that planted ones can lie in between."""
    columns = ("user_id", "hour", "value", "surface", "position", "event", "item")
    rows = []
    for number, given_row in enumerate(log):
        row = dict(zip(columns, given_row, strict=True))
        rows.append((number * 10, "", row))
    for place, given_row in enumerate(planted):
        row = dict(zip(columns, given_row[:-1], strict=True))
        rows.append((int(given_row[-1]) // 10 * 10 + 5, f"p{place:02d}", row))  # type: ignore[call-overload]
    made = []
    for number, mark, row in rows:
        hour = row.pop("hour")
        name = f"i{row.pop('item')}"
        identifier = f"e{number:04d}{mark or 'aaa'}"
        made.append({**event(0, hour), **row, "item_id": name, "event_id": identifier})
    return made


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(_LOG, _LOG.map(_in_order)), _POLICIES)
def test_imputation_never_changes_a_value_that_is_there(
    log: list[tuple[object, ...]], policies: Row
) -> None:
    given_rows = _shop_of(log, [])
    rows = filled(given_rows, HORIZON - 50 * 3_600_000, **policies)

    before = {row["event_id"]: row for row in given_rows}
    for row in rows:
        for column, value in before[row["event_id"]].items():
            if value is not None:
                assert row[column] == value, column


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(_LOG, _LOG.map(_in_order)),
    _PLANTED,
    _POLICIES,
    st.sampled_from(["median", "mode", "model"]),
)
def test_events_planted_after_the_cut_change_nothing_before_it(
    log: list[tuple[object, ...]],
    planted: list[tuple[object, ...]],
    policies: Row,
    price: str,
) -> None:
    catalogue = [
        item(f"i{row}", None if row % 3 == 0 else float(row), brand=None if row == 4 else f"b{row}")
        for row in range(10)
    ]
    at = datetime.fromtimestamp(HORIZON / 1000, UTC)
    config = settings(
        split={"validation_start": at - timedelta(hours=20), "test_start": at},
        quality={
            "imputation": {"events": policies, "items": {"price": price, "brand": "mode"}},
        },
    )
    # A known frame, so that the log can be cut with and without the planted events.
    frame = [
        event(0, 0, user_id="frame", event_id="e0000frm", item_id="i1"),
        event(0, 110, user_id="frame", event_id="e9999frm", item_id="i1"),
    ]

    def outcome_of(future: list[tuple[object, ...]]) -> tuple[list[Row], list[Row]]:
        cleaned = clean(of_rows(_shop_of(log, future) + frame, catalogue, []), config, NOW)
        assert cleaned.horizon == HORIZON
        return [
            row for row in cleaned.tables.events.to_pylist() if row["time"] < at
        ], cleaned.tables.items.to_pylist()

    assert outcome_of(planted) == outcome_of([])


def test_interpolated_rows_count_in_the_cut_that_everything_is_fitted_before() -> None:
    # Known times alone would be cut at hour 90; with the hundred rows between hours 0 and 1 the
    # cut is at hour 80 (90 % of 200 rows lie before it), and the 9s from there on are the future.
    log = [event(0, 0, event_id="e0000")]
    log += [event(0, None, event_id=f"e{1 + row:04d}") for row in range(100)]
    log += [
        event(0, hour, event_id=f"e{200 + hour:04d}", value=1.0 if hour < 40 else 9.0)
        for hour in range(1, 100)
    ]
    for row in log[:101]:
        row["value"] = 1.0 if row["event_id"] == "e0000" else 3.0
    log[50]["value"] = None
    log = [{**row, "position": number} for number, row in enumerate(log)]
    imputation = {"events": {"time": "interpolate", "value": "mode"}}
    config = settings(quality={"imputation": imputation})

    cleaned = clean(of_rows(log, [item("i0", 1.0)], []), config, NOW)

    assert cleaned.tables.events.num_rows == 200
    assert cleaned.horizon == round((START + timedelta(hours=80)).timestamp() * 1000)


def test_the_leakage_property_can_fail() -> None:
    """The same plant does change the outcome if what is fitted may look at it."""
    log = [event(1, 1, value=1.0), event(2, 2, value=None), event(3, 150, value=9.0)]
    log.append(event(4, 151, value=9.0))

    assert values(filled(log, HORIZON, value="mode"))[1] == 1.0
    assert values(filled(log, HORIZON * 2, value="mode"))[1] == 9.0


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
