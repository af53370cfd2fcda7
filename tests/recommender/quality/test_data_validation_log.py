"""Volume, time and drift of the log as a whole."""

from __future__ import annotations

from datetime import timedelta

import pytest
from quality_judging import Change, Judged, broken, named, refusal
from quality_tables import START, Row, of_rows, settings, shop

from recommender.quality.accepted import Accepted
from recommender.quality.statistics import Statistics
from recommender.quality.validation import Validation

# ── Small and empty logs ─────────────────────────────────────────────────────────────────────


def test_empty_tables_are_critical(judged: Judged) -> None:
    message = refusal(judged(of_rows([], [], [])))

    assert "log: events of the history types: 0; expected at least 10" in message
    assert "quality.log.events" in message


def one_user(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in events:
        row["user_id"] = "u1"


def one_item(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in events:
        row["item_id"] = "i1"


def one_moment(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in events:
        row["time"] = START


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (one_user, "log: users with such events: 1; expected at least 2"),
        (one_item, "log: items with such events: 1; expected at least 2"),
        (one_moment, "log: different moments: 1; expected at least 3"),
        (one_moment, "log: it can be cut into train, validation and test: no"),
    ],
)
def test_one_user_one_item_or_one_moment_is_critical(
    judged: Judged, change: Change, said: str
) -> None:
    assert said in refusal(judged(change))


def test_events_of_other_types_than_the_history_do_not_count_as_volume(judged: Judged) -> None:
    def no_history(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events:
            row["event"] = "view"

    actions = {"types": ["view", "rate"], "history": ["rate"]}
    validation = judged(no_history, actions=actions)

    assert "log: events of the history types: 0" in refusal(validation)
    assert broken(validation)["log: configured types without any event"] == "warning"


# ── Time ─────────────────────────────────────────────────────────────────────────────────────


def test_rows_that_go_back_in_file_order_are_counted(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        events[10], events[300] = events[300], events[10]

    finding = named(judged(spoil), "events: times don't go back in file order", "warning")

    assert finding.count == 2
    assert [example["row"] for example in finding.examples] == ["11", "300"]


def test_a_long_silence_is_a_warning(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events[:300]:
            row["time"] -= timedelta(days=100)

    found = broken(judged(spoil))

    assert found == {"log: longest silence, as a share of the log's length": "warning"}


def test_a_source_that_runs_backwards_is_a_warning(judged: Judged) -> None:
    def spoil(events: list[Row], items: list[Row], users: list[Row]) -> None:
        for row in events:
            row["time"] = START + (START - row["time"])
        events.reverse()

    found = broken(judged(spoil, quality={"epoch_start": "2000-01-01T00:00:00+00:00"}))

    assert found == {"log: share of the steps that go back in time": "warning"}


# ── Drift ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def accepted() -> Accepted:
    return Accepted("d-before", "2024-12-01", Statistics.of(shop(), settings().actions))


def renumbered(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in (*events, *items):
        row["item_id"] = f"new-{row['item_id']}"


def rescaled(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in events:
        row["value"] = row["value"] and row["value"] * 20


def retyped_events(events: list[Row], items: list[Row], users: list[Row]) -> None:
    for row in events[:590]:
        row["event"] = "view"


def cut_short(events: list[Row], items: list[Row], users: list[Row]) -> None:
    del events[200:]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (renumbered, "drift: item popularity (Jensen–Shannon distance): 1; expected at most 0.6"),
        (rescaled, "drift: mean value, in standard deviations"),
        (retyped_events, "drift: mix of event types (PSI)"),
        (cut_short, "drift: events, as a multiple of the accepted version's: 0.3333"),
    ],
)
def test_a_log_that_has_moved_far_from_the_accepted_one_is_critical(
    judged: Judged, accepted: Accepted, change: Change, said: str
) -> None:
    assert said in refusal(judged(change, against=accepted))


def test_a_log_that_has_moved_a_little_is_a_warning(judged: Judged, accepted: Accepted) -> None:
    def fewer(events: list[Row], items: list[Row], users: list[Row]) -> None:
        del events[480:]

    validation = judged(fewer, against=accepted)

    assert broken(validation) == {
        "drift: events, as a multiple of the accepted version's": "warning"
    }
    assert validation.drift["events_kept"] == 0.8


def test_the_comparison_can_be_switched_off_and_the_first_version_has_none(
    judged: Judged, accepted: Accepted
) -> None:
    off = judged(renumbered, against=accepted, quality={"drift": {"compare": False}})
    first = judged(renumbered)

    assert off.verdict == first.verdict == "passed"
    assert not any(f.name.startswith("drift") for f in (*off.findings, *first.findings))


def test_the_same_data_gives_the_same_findings(judged: Judged, accepted: Accepted) -> None:
    def told(validation: Validation) -> list[Row]:
        return [finding.to_dict() for finding in validation.findings]

    assert told(judged(rescaled, against=accepted)) == told(judged(rescaled, against=accepted))
