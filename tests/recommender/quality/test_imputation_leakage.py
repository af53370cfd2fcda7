"""Imputation never changes what is there, and never reads the future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from quality_events import HORIZON, event, filled, item, values
from quality_tables import NOW, START, Row, of_rows, settings

from recommender.quality.clean import clean

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
