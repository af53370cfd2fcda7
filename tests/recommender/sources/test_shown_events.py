"""Served lists and feedback as canonical events: what the next run trains on and weighs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tables_by_hand import configuration, follow_table, tables

from recommender.config import Config
from recommender.errors import ConfigError
from recommender.privacy import Pseudonyms, pseudonyms
from recommender.served import FEEDBACK, SERVED
from recommender.served_store import ServedStore
from recommender.sources.shown import shown_events
from recommender.sources.versions import Streamed
from recommender.tables import Tables

T = 1_700_000_000_000
MINUTE = 60_000

BEFORE = tables(
    [("ann", "i0", "click", T - MINUTE), ("bob", "i1", "click", T - MINUTE)],
    items=["i0", "i1", "i2"],
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configuration(tmp_path, serving={"feedback": {"attribution_s": 600}})


@pytest.fixture
def names(config: Config) -> Pseudonyms:
    return pseudonyms(config.paths.keys)


def shown(names: Pseudonyms, request: str, person: str, *items: str, **more: Any) -> pa.Table:
    shared = {
        "request_id": request,
        "time": T,
        "user": names.of(person),
        "version": "m-1",
        "lane": "live",
        "surface": "home",
        "policy": "p",
    } | more
    return pa.Table.from_pylist(
        [
            shared | {"position": place, "item_id": item, "propensity": 0.9, "marginal": 0.25}
            for place, item in enumerate(items, 1)
        ],
        SERVED,
    )


def came(request: str, item: str, action: str, after: int, value: float | None = None) -> pa.Table:
    row = {
        "event_id": f"fb-{request}-{item}-{action}",
        "request_id": request,
        "item_id": item,
        "action": action,
        "time": T + after,
        "value": value,
        "received": T + after,
    }
    return pa.Table.from_pylist([row], FEEDBACK)


def added(config: Config, before: Tables = BEFORE) -> tuple[Tables, str]:
    found = shown_events(config)
    assert found is not None
    return found.add(before)


def as_rows(whole: Tables) -> list[tuple[Any, ...]]:
    names = ("user_id", "item_id", "event", "position", "propensity")
    rows = whole.events.append_column("ms", whole.events["time"].cast(pa.int64())).to_pylist()
    return [(row["ms"] - T, *(row[name] for name in names)) for row in rows if row["ms"] >= T]


def test_an_item_is_an_impression_or_the_success_that_came_of_it(
    config: Config, names: Pseudonyms
) -> None:
    store = ServedStore(config.paths.root)
    store.write("served", shown(names, "r1", "ann", "i0", "i1", "i2"))
    store.write("feedback", came("r1", "i1", "click", 10))
    store.write("feedback", came("r1", "i1", "purchase", 20, 9.5))
    store.write("feedback", came("r1", "i2", "click", 15))
    whole, said = added(config)
    # Success is the purchase: it stands at the place; the click before it is no impression.
    assert as_rows(whole) == [
        (0, "ann", "i0", "impression", 1, 0.25),
        (0, "ann", "i2", "impression", 3, 0.25),
        (10, "ann", "i1", "click", None, None),
        (15, "ann", "i2", "click", None, None),
        (20, "ann", "i1", "purchase", 2, 0.25),
    ]
    assert "2 items that were shown and 3 actions" in said
    assert whole.events["surface"].to_pylist()[-1] == "home"
    assert whole.events["value"].to_pylist()[-1] == 9.5


def test_what_a_newcomer_was_shown_who_only_follows_somebody_counts(
    config: Config, names: Pseudonyms
) -> None:
    store = ServedStore(config.paths.root)
    store.write("served", shown(names, "r1", "new", "i0"))
    store.write("feedback", came("r1", "i0", "click", 10))
    assert as_rows(added(config)[0]) == []
    graph = follow_table([("new", "ann", None)])
    whole, _ = added(config, replace(BEFORE, follows=graph))
    assert as_rows(whole)[-1][:4] == (10, "new", "i0", "click")
    assert whole.follows is graph


def test_a_success_long_after_is_an_event_of_its_own(config: Config, names: Pseudonyms) -> None:
    store = ServedStore(config.paths.root)
    store.write("served", shown(names, "r1", "ann", "i0"))
    store.write("feedback", came("r1", "i0", "purchase", 600_001))
    assert as_rows(added(config)[0]) == [
        (0, "ann", "i0", "impression", 1, 0.25),
        (600_001, "ann", "i0", "purchase", None, None),
    ]


def test_what_nobody_can_know_of_is_left_out(config: Config, names: Pseudonyms) -> None:
    store = ServedStore(config.paths.root)
    store.write("served", shown(names, "r1", "ann", "i0"))
    assert shown_events(config) is None  # nobody tells what comes of lists
    store.write("feedback", came("r1", "i0", "purchase", 10))
    store.write("served", shown(names, "r2", "ann", "i1", time=T + 11))  # after the last feedback
    store.write("served", shown(names, "r3", "ann", "i1", lane="rehearsal"))
    store.write("served", shown(names, "r4", "ann", "i1", user=""))
    store.write("served", shown(names, "r5", "stranger", "i1"))
    store.write("served", shown(names, "r6", "ann", "unheard-of"))
    whole, said = added(config)
    assert as_rows(whole) == [(10, "ann", "i0", "purchase", 1, 0.25)]
    assert "2 of unknown people or items left out" in said


def test_an_event_that_came_by_stream_too_is_one_and_keeps_its_place(
    config: Config, names: Pseudonyms
) -> None:
    store = ServedStore(config.paths.root)
    store.write("served", shown(names, "r1", "ann", "i0"))
    store.write("feedback", came("r1", "i0", "purchase", 10))
    streamed = tables(
        [("ann", "i0", "purchase", T + 10, None, "fb-r1-i0-purchase")], items=["i0", "i1", "i2"]
    )
    assert as_rows(added(config, streamed)[0]) == [(10, "ann", "i0", "purchase", 1, 0.25)]


def test_the_same_log_has_the_same_digest_and_more_of_it_another(
    config: Config, names: Pseudonyms
) -> None:
    def digest() -> str:
        found = shown_events(config)
        assert found is not None
        return found.digest

    store = ServedStore(config.paths.root)
    store.write("served", shown(names, "r1", "ann", "i0"))
    store.write("feedback", came("r1", "i0", "purchase", 10))
    first = digest()
    store.write("served", shown(names, "r1", "ann", "i0"))  # delivered twice
    assert digest() == first
    store.write("feedback", came("r1", "i0", "click", 11))
    assert digest() != first


def test_looking_alone_finds_the_same_and_leaves_the_files_as_they_are(
    config: Config, names: Pseudonyms
) -> None:
    store = ServedStore(config.paths.root)
    for request in ("r1", "r2", "r3"):
        store.write("served", shown(names, request, "ann", "i0"))
        store.write("feedback", came(request, "i0", "purchase", 10))
    folder = config.paths.root / "served"
    before = sorted(folder.rglob("*.parquet"))
    looked = shown_events(config, compact=False)
    assert sorted(folder.rglob("*.parquet")) == before
    assert len(before) == 3
    joined = shown_events(config)
    assert len(list(folder.rglob("*.parquet"))) == 1
    assert looked is not None
    assert joined is not None
    assert looked.digest == joined.digest


def test_turned_off_nothing_is_added(tmp_path: Path, names: Pseudonyms, config: Config) -> None:
    store = ServedStore(config.paths.root)
    store.write("served", shown(names, "r1", "ann", "i0"))
    store.write("feedback", came("r1", "i0", "purchase", 10))
    assert shown_events(configuration(tmp_path, serving={"log": {"ingest": False}})) is None


def test_the_type_of_impressions_must_be_one_that_makes_no_history(tmp_path: Path) -> None:
    wrong = configuration(tmp_path, serving={"log": {"impression": "click"}})
    with pytest.raises(ConfigError, match="'click', which is no event type that makes no history"):
        shown_events(wrong)


def test_parts_are_added_in_their_order() -> None:
    def part(name: str) -> Streamed:
        return Streamed(name, lambda tables: (tables, name))

    both = Streamed.together([part("a"), part("b")])
    assert both.digest == "a b"
    assert both.add(BEFORE) == (BEFORE, "a; b")
