"""Features broken one way at a time; each is found, named, and stops the run or not."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from feature_tables import (
    AS_OF,
    KEYS,
    item_attributes,
    item_text,
    item_trend,
    replaced,
    sound,
    user_activity,
    user_sequence,
)
from hypothesis import given
from hypothesis import strategies as st
from tables_by_hand import configuration

from recommender.errors import DataQualityError, StorageError
from recommender.features.expectations.distribution import Distribution
from recommender.features.expectations.judge import Judged, judge
from recommender.features.expectations.profile import (
    NAME,
    Profile,
    accept,
    baseline,
    features_version,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return configuration(tmp_path_factory.mktemp("workspace"))


def judged(config, *, against=None, data_version="d-1", **tables) -> Judged:
    return judge(
        tables,
        KEYS,
        AS_OF,
        config,
        data_version=data_version,
        now=NOW,
        against=against,
        pseudonym=lambda user: f"pseudonym of {user[-1]}",
    )


def test_sound_features_pass_every_expectation(config):
    found = judged(config, **sound())
    assert [f.name for f in found.findings if not f.passed] == []
    assert found.verdict == "passed"
    assert len(found.findings) > 20
    found.sound()


@pytest.mark.parametrize(
    ("view", "table", "name"),
    [
        ("user_sequence", user_sequence(lengths=[2, 0, 3]), "a history has 1 to 200 events"),
        ("user_sequence", user_sequence(lengths=[2, 201]), "a history has 1 to 200 events"),
        (
            "user_sequence",
            replaced(user_sequence(2), "actions", [["click"], ["click"] * 3]),
            "the lists of a history are equally long",
        ),
        (
            "user_sequence",
            replaced(user_sequence(2), "item_ids", [["a", None], ["a"] * 3]),
            "no list holds a null",
        ),
        (
            "user_sequence",
            replaced(user_sequence(2), "times", [[2, 1], [1, 1, 1]]),
            "events are in the order of time",
        ),
        (
            "user_sequence",
            replaced(user_sequence(2), "times", [[1, AS_OF], [1, 2, 3]]),
            "every event is before the moment of the snapshot",
        ),
        (
            "user_sequence",
            replaced(user_sequence(2), "as_of", [AS_OF, AS_OF - 1]),
            "all rows are as of the same moment",
        ),
        (
            "user_sequence",
            replaced(user_sequence(2), "user_id", ["u", "u"]),
            "every user_id is there, and once",
        ),
        (
            "user_sequence",
            replaced(user_sequence(2), "user_id", ["u", None]),
            "every user_id is there, and once",
        ),
        (
            "user_activity",
            replaced(user_activity(3), "events_7d", [5, 5, 5]),
            "a longer window holds no fewer events (1d ≤ 7d ≤ 30d ≤ 90d ≤ total)",
        ),
        (
            "user_activity",
            replaced(user_activity(3), "events_total", [0, 9, 9]),
            "a longer window holds no fewer events (1d ≤ 7d ≤ 30d ≤ 90d ≤ total)",
        ),
        (
            "user_activity",
            replaced(user_activity(3), "events_1d", [-1, 0, 0]),
            "counts and days are finite and not negative",
        ),
        (
            "user_activity",
            replaced(user_activity(3), "days_since_last", [INF, 0, 0]),
            "counts and days are finite and not negative",
        ),
        (
            "user_activity",
            replaced(user_activity(3), "successes_90d", [99, 0, 0]),
            "no part of a window's events is larger than the window",
        ),
        (
            "user_activity",
            replaced(user_activity(3), "last_event_ms", [AS_OF, 1, 1]),
            "the last event is before the moment of the snapshot",
        ),
        (
            "item_text",
            item_text(2, 2, vector=pa.array([[1, 0], [2, 0]], pa.list_(pa.float32()))),
            "every vector is of length 1, or zeros",
        ),
        (
            "item_text",
            item_text(2, 2, vector=pa.array([[1, 0], [0, NAN]], pa.list_(pa.float32()))),
            "every vector is finite",
        ),
        (
            "item_text",
            item_text(3, 2, vector=pa.array([[1, 0], [1], [0, 1]], pa.list_(pa.float32()))),
            "every vector is 2 wide",
        ),
        (
            "item_text",
            item_text(3, encoder=["mini@1", "mini@1", "other@2"]),
            "one encoder made all vectors",
        ),
        (
            "item_text",
            item_text(2, vector_zh=pa.array([[1.0], [3.0]]), encoder_zh=["bge@1"] * 2),
            "every vector_zh is of length 1, or zeros",
        ),
        (
            "item_text",
            item_text(2, vector_zh=pa.array([[1.0], [1.0]]), encoder_zh=["bge@1", "bge@2"]),
            "one encoder_zh made all vectors",
        ),
        (
            "item_attributes",
            item_attributes([1.0, -2.0]),
            "prices are finite and believable",
        ),
        ("item_attributes", item_attributes([1.0, INF]), "prices are finite and believable"),
        ("item_trend", item_trend(2, level=[1.0, INF]), "level is finite"),
        ("item_trend", item_trend(2, slope=[-1.0, -INF]), "slope is finite"),
        ("item_trend", item_trend(2, forecast=[1.0, -0.1]), "forecast is not negative"),
    ],
)
def test_a_broken_promise_stops_the_run_and_names_the_rows(config, view, table, name):
    found = judged(config, **{view: table})
    broken = {f.name: f for f in found.critical}
    assert name in broken
    assert broken[name].examples
    with pytest.raises(DataQualityError, match=r"nothing was published") as caught:
        found.sound()
    assert f"{view}: {name}" in str(caught.value)
    assert broken[name].examples[0] in str(caught.value)


def test_a_slope_may_fall_and_an_unknown_trend_is_no_defect(config):
    table = item_trend(2, slope=[-1.0, -2.0], forecast=[NAN, 1.0], level=[None, 1.0])
    assert judged(config, item_trend=table).verdict == "passed"


def test_examples_hold_pseudonyms_and_not_more_than_asked_for(config):
    table = replaced(user_sequence(9), "as_of", [0] * 9)
    (broken,) = judged(config, user_sequence=table).critical
    assert broken.examples == ("pseudonym of 0", "pseudonym of 1", "pseudonym of 2")
    assert "9 of 9 rows" in broken.observed


def test_a_share_within_the_limit_warns_and_names_its_setting(config):
    table = user_sequence(lengths=[1] * 95 + [2] * 5)
    found = judged(config, user_sequence=table)
    (warning,) = found.warnings
    assert warning.name == "a history has more than one event"
    assert warning.setting == "features.expectations.single_event"
    assert found.verdict == "passed with warnings"
    found.sound()


def test_zeros_are_allowed_and_counted(config):
    vectors = pa.array([[0.0, 0.0]] * 3 + [[1.0, 0.0]] * 7, pa.list_(pa.float32()))
    found = judged(config, item_text=item_text(10, 2, vector=vectors))
    assert not found.critical
    (warning,) = found.warnings
    assert warning.observed == "3 of 10 rows break it (30%)"


def test_an_empty_view_breaks_nothing(config):
    empty = {view: table.slice(0, 0) for view, table in sound().items()}
    assert judged(config, **empty).verdict == "passed"


# Drift against the last accepted run.


def drifted(config, before: pa.Table, now: pa.Table, view="user_sequence") -> Judged:
    then = judged(config, **{view: before}, data_version="d-0").profile
    return judged(config, **{view: now}, against=then)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_same_distribution_again_is_no_drift(config):
    lengths = [rng(seed).integers(1, 60, 2000) for seed in (1, 2)]
    found = drifted(config, user_sequence(lengths=lengths[0]), user_sequence(lengths=lengths[1]))
    assert found.verdict == "passed"
    assert any(f.name == "drift: events" for f in found.findings)


def test_histories_cut_in_half_are_reported_and_collapsed_ones_stop_the_run(config):
    long = rng(1).integers(20, 100, 1000)
    halved = drifted(config, user_sequence(lengths=long), user_sequence(lengths=long // 2))
    assert "drift: events" in [f.name for f in (*halved.warnings, *halved.critical)]
    collapsed = drifted(config, user_sequence(lengths=long), user_sequence(lengths=[2] * 1000))
    (stop,) = [f for f in collapsed.critical if f.name == "drift: events"]
    assert stop.setting == "features.expectations.drift.psi"
    assert "then, 2 now" in stop.why


def test_what_moves_with_the_clock_is_reported_and_stops_nobody(config):
    before = user_activity(500)
    quiet = replaced(before, "events_1d", [0] * 500)
    quiet = replaced(quiet, "days_since_last", [9.0] * 500)
    found = drifted(config, before, quiet, "user_activity")
    assert found.verdict == "passed with warnings"
    told = {f.name: f for f in found.warnings}
    assert told.keys() == {"drift: events_1d", "drift: days_since_last"}
    assert told["drift: events_1d"].setting == "features.expectations.drift.recency"
    faded = item_trend(500, level=np.full(500, 0.9))
    found = drifted(config, item_trend(500, level=np.ones(500)), faded, "item_trend")
    assert found.verdict == "passed"
    (told,) = [f for f in found.findings if f.name == "drift: level"]
    assert (told.expected, told.setting) == ("any", "features.expectations.drift.trend")
    assert float(told.observed) > 1


def test_what_a_changed_setting_does_is_reported_and_stops_nobody(config):
    shorter = configuration(config.paths.root, features={"history_limit": 5})
    long = rng(1).integers(20, 100, 1000)
    then = judged(config, user_sequence=user_sequence(lengths=long)).profile
    found = judged(shorter, user_sequence=user_sequence(lengths=[5] * 1000), against=then)
    assert found.verdict == "passed with warnings"
    (told,) = [f for f in found.warnings if f.name == "drift: events"]
    assert "a setting that shapes features has changed" in told.why


def test_with_few_rows_chance_is_not_called_drift(config):
    found = drifted(config, user_sequence(lengths=[50] * 20), user_sequence(lengths=[2] * 20))
    assert found.verdict == "passed"
    (note,) = [f for f in found.findings if f.name == "drift: events"]
    assert note.severity == "note"
    assert "not judged below 200 rows" in note.expected


def test_a_column_that_falls_silent_is_reported(config):
    before = item_attributes([1.0 + n % 7 for n in range(500)])
    now = item_attributes([None if n % 5 == 0 else 1.0 + n % 7 for n in range(500)])
    found = drifted(config, before, now, "item_attributes")
    (warning,) = found.warnings
    assert warning.name == "drift: price is missing"
    assert "0% of the rows then, 20% now" in warning.why


def test_another_encoder_is_reported(config):
    found = drifted(config, item_text(), item_text(encoder=["maxi@2"] * 4), "item_text")
    (warning,) = found.warnings
    assert (warning.expected, warning.observed) == ("mini@1", "maxi@2")


def test_fewer_users_and_another_mix_of_events_are_reported(config):
    lengths = rng(1).integers(2, 60, 2000)
    before = user_sequence(lengths=lengths)
    half = user_sequence(lengths=lengths[:1000])
    bought = [["purchase"] * int(size) for size in lengths[:1000]]
    found = drifted(config, before, replaced(half, "actions", bought))
    names = {f.name for f in (*found.warnings, *found.critical)}
    assert names == {"drift: number of rows", "drift: event types"}


def test_the_comparison_can_be_switched_off(config):
    off = configuration(config.paths.root, features={"expectations": {"drift": {"compare": False}}})
    then = judged(config, user_sequence=user_sequence(500)).profile
    found = judged(off, user_sequence=user_sequence(lengths=[1] * 500), against=then)
    assert found.against is None
    assert not [f for f in found.findings if f.name.startswith("drift")]


# What is kept of a run.


def test_the_last_accepted_run_is_kept_and_judging_it_again_gives_the_same(config, tmp_path):
    assert baseline(tmp_path, "d-1/x") is None
    first = judged(config, **sound(), data_version="d-1").profile
    second = judged(config, **sound(), data_version="d-2").profile
    accept(tmp_path, first)
    assert baseline(tmp_path, second.version) == first
    assert baseline(tmp_path, first.version) is None
    accept(tmp_path, second)
    accept(tmp_path, second)
    assert baseline(tmp_path, second.version) == first
    assert baseline(tmp_path, "d-3/x") == second
    assert Profile.from_dict(first.to_dict()) == first
    assert "user 1" not in (tmp_path / NAME).read_text()


@pytest.mark.parametrize("damage", ["{}", "[1]", '{"current": {"views": 3}, "previous": null}'])
def test_a_damaged_record_says_what_to_do(tmp_path, damage):
    (tmp_path / NAME).write_text(damage)
    with pytest.raises(StorageError, match="delete it to start over"):
        baseline(tmp_path, "d-1/x")


def test_features_are_others_where_a_setting_that_shapes_them_is(config):
    same = configuration(config.paths.root, training={"epochs": 9})
    other = configuration(config.paths.root, features={"history_limit": 5})
    stricter = configuration(config.paths.root, features={"freshness": {"max_age_hours": 5}})
    assert features_version(config, "d") == features_version(same, "d")
    assert features_version(other, "d") != features_version(config, "d")
    # How old they may be changes nothing about them; the text section differs in threads only.
    assert features_version(stricter, "d").startswith("d/")


# Distributions.

FIGURES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=80)


@given(FIGURES, st.integers(2, 20))
def test_a_distribution_counts_every_value_and_does_not_move_from_itself(values, bins):
    found = Distribution.of(np.array(values), bins)
    assert sum(found.counts) == sum(found.shape) == found.rows == len(values)
    assert list(found.edges) == sorted(set(found.edges))
    assert found.moved(np.array(values)) == pytest.approx(0, abs=1e-9)
    assert Distribution.from_dict(found.to_dict()) == found


@given(FIGURES, FIGURES)
def test_a_move_is_never_negative(before, now):
    assert Distribution.of(np.array(before), 10).moved(np.array(now)) >= 0


@given(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32))
def test_a_constant_that_becomes_another_constant_is_a_move(before, now):
    moved = Distribution.of(np.full(50, before), 10).moved(np.full(50, now))
    assert (moved > 1) == (before != now)


def test_a_value_that_fills_several_bins_has_one_of_its_own():
    mostly_ones = np.array([1.0] * 90 + [2.0] * 10)
    found = Distribution.of(mostly_ones, 10)
    assert found.moved(np.array([1.0] * 50 + [2.0] * 50)) > 0.5


def test_values_that_are_not_there_are_left_out():
    assert Distribution.of(np.array([NAN, INF]), 10) is None
    found = Distribution.of(np.array([1.0, NAN, 3.0]), 10)
    assert (found.rows, found.mean) == (2, 2.0)
    assert found.moved(np.array([NAN])) == 0
