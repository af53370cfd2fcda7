from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quality_tables import Row, rows_of, settings, shop, spoiled

from recommender.quality import drift as drift_module
from recommender.quality import statistics as statistics_module
from recommender.quality.drift import (
    drift,
    jensen_shannon_distance,
    population_stability_index,
)
from recommender.quality.statistics import Statistics
from recommender.tables import Tables

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=1)


def taken(tables: Tables) -> Statistics:
    return Statistics.of(tables, settings().actions)


def test_the_examples_in_the_documentation_hold() -> None:
    result = doctest.testmod(drift_module)

    assert result.attempted >= 2
    assert result.failed == 0


def test_the_stability_index_is_that_of_a_hand_computed_case() -> None:
    expected = 0.3 * math.log(0.8 / 0.5) + -0.3 * math.log(0.2 / 0.5)

    assert population_stability_index({"a": 5, "b": 5}, {"a": 80, "b": 20}) == pytest.approx(
        expected
    )


def test_the_distance_is_that_of_a_hand_computed_case() -> None:
    # p = (1, 0), q = (½, ½), mixture (¾, ¼)
    divergence = (math.log2(4 / 3) + 0.5 * math.log2(2 / 3) + 0.5 * math.log2(2)) / 2

    assert jensen_shannon_distance({"a": 7}, {"a": 4, "b": 4}) == pytest.approx(
        math.sqrt(divergence)
    )


@given(COUNTS, COUNTS, st.integers(2, 9))
def test_both_are_zero_for_the_same_shares_symmetric_and_the_distance_is_at_most_one(
    p: dict[str, int], q: dict[str, int], factor: int
) -> None:
    scaled = {name: count * factor for name, count in p.items()}

    assert population_stability_index(p, scaled) == pytest.approx(0, abs=1e-9)
    assert jensen_shannon_distance(p, scaled) == pytest.approx(0, abs=1e-6)
    assert population_stability_index(p, q) == pytest.approx(population_stability_index(q, p))
    assert jensen_shannon_distance(p, q) == pytest.approx(jensen_shannon_distance(q, p))
    assert 0 <= jensen_shannon_distance(p, q) <= 1
    assert population_stability_index(p, q) >= -1e-12


def test_a_version_has_not_drifted_from_itself() -> None:
    statistics = taken(shop())

    moved = drift(statistics, statistics)

    assert moved == {
        "events_kept": 1.0,
        "users_kept": 1.0,
        "items_kept": 1.0,
        "growth": 1.0,
        "event_mix": 0.0,
        "popularity": 0.0,
        "value_mean": 0.0,
    }


def test_each_figure_moves_with_what_it_measures() -> None:
    before = taken(shop())

    def renumber(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in (*events, *items):
            row["item_id"] = f"new-{row['item_id']}"

    def rescale(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events:
            row["value"] = row["value"] and row["value"] * 20

    def retype(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events:
            row["event"] = "view"

    def halve(events: list[Row], items: list[Row], users: list[Row]) -> None:
        del events[300:]

    def moved(change: object) -> dict[str, float]:
        return drift(before, taken(spoiled(shop(), change)))  # type: ignore[arg-type]

    assert moved(renumber)["popularity"] == 1.0
    assert moved(rescale)["value_mean"] > 10
    assert moved(retype)["event_mix"] > 1
    assert moved(halve)["events_kept"] == 0.5


def test_items_beyond_the_remembered_ones_are_compared_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics_module, "MOST_ITEMS", 3)
    before = taken(shop())

    def swap_rare_ones(events: list[Row], items: list[Row], users: list[Row]) -> None:
        rare = {f"i{row}" for row in range(20, 30)}
        for row in events:
            if row["item_id"] in rare:
                row["item_id"] = "i19"

    now = taken(spoiled(shop(), swap_rare_ones))

    assert len(before.popularity) == 3
    assert before.other_items + sum(before.popularity.values()) == 600
    assert drift(before, now)["popularity"] == pytest.approx(0, abs=1e-6)


def test_without_values_or_events_only_what_can_be_compared_is() -> None:
    def silence(events: list[Row], items: list[Row], users: list[Row]) -> None:
        events.clear()

    moved = drift(taken(shop()), taken(spoiled(shop(), silence)))

    assert set(moved) == {"events_kept", "users_kept", "items_kept", "growth"}
    assert moved["events_kept"] == 0


def test_statistics_count_the_history_types_only_where_they_say_so() -> None:
    config = settings(actions={"types": ["view", "rate"], "history": ["rate"]})
    tables = shop()
    rated = [row for row in rows_of(tables)[0] if row["event"] == "rate"]

    statistics = Statistics.of(tables, config.actions)

    assert statistics.events == 600
    assert statistics.history_events == len(rated) == 200
    assert statistics.users == len({row["user_id"] for row in rated})
    assert statistics.items == len({row["item_id"] for row in rated})
    assert statistics.event_mix == {"view": 400, "rate": 200}
    assert statistics.largest_gap == pytest.approx(3 / 597)
    assert statistics.value_mean == pytest.approx(sum(r["value"] for r in rated) / 200)
