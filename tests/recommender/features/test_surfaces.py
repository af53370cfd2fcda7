"""Where events happened: told apart by name, in histories, in rows, and as the request's own."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from tables_by_hand import ACTIONS, event_table

from feature_repo.stream.event import read_event
from feature_repo.stream.rules import EventRules
from recommender.config.actions import ActionsConfig
from recommender.features.latest import sequences
from recommender.features.rebase import rebase
from recommender.features.recent import Event, append
from recommender.features.sequences import Catalogue, EventLog

TOLD = ActionsConfig.model_validate({**ACTIONS, "surfaces": ["home", "search"]})
CATALOGUE = Catalogue(("a", "b"))
EVENTS = [
    ("u", "a", "click", 1),
    ("u", "b", "click", 2),
    ("u", "a", "purchase", 5),
    ("v", "b", "click", 5),
]
WHERE = ["home", "page 7", "search", None]


def log(actions: ActionsConfig = TOLD) -> EventLog:
    table = event_table(EVENTS)
    place = table.schema.get_field_index("surface")
    table = table.set_column(place, "surface", pa.array(WHERE, pa.string()))
    return EventLog.build(table, CATALOGUE, actions, event_ids=True)


def test_named_surfaces_have_codes_and_all_others_are_one():
    assert log().surfaces is not None
    assert log().surfaces.tolist() == [1, 0, 2, 0]
    assert log(ActionsConfig.model_validate(ACTIONS)).surfaces is None
    with pytest.raises(ValueError, match="names one twice"):
        ActionsConfig.model_validate({**ACTIONS, "surfaces": ["home", "home"]})


def test_a_history_carries_them_and_a_request_that_of_its_own_moment():
    users, times = np.array([0, 0, 1]), np.array([5, 4, 5])
    asked = log().asked(users, times, 10)
    assert asked.surfaces is not None
    assert asked.surface is not None
    assert asked.surfaces.tolist() == [1, 0, 1, 0]
    # Nothing happened at 4; what happened at 5 has no named surface for v.
    assert asked.surface.tolist() == [2, 0, 0]
    assert log().histories(users, times, 10).surface is None
    cut = asked.recent(1).slice(0, 2)
    assert (cut.surfaces.tolist(), cut.surface.tolist()) == ([0, 0], [2, 0])


def test_nothing_of_the_event_but_where_it_happened_reaches_the_request():
    users, times = np.array([0]), np.array([5])
    asked, before = log().asked(users, times, 10), log().before(5).histories(users, times, 10)
    for name in ("items", "actions", "times", "surfaces"):
        np.testing.assert_array_equal(getattr(asked, name), getattr(before, name))


def test_a_row_by_stream_is_the_row_by_batch():
    rules = EventRules(TOLD.types, TOLD.histories, 5, surfaces=TOLD.surfaces)
    assert EventRules.from_text(rules.to_text()) == rules
    streamed = None
    for number, (event, where) in enumerate(zip(EVENTS, WHERE, strict=True)):
        user, item, kind, time = event
        if user == "u":
            fields = {"event_id": f"e{number:06}", "user_id": user, "item_id": item}
            given = {**fields, "event": kind, "time": time, "surface": where}
            told = read_event(given, rules, 10).in_sequence(0, rules.surfaces)
            streamed = append(streamed, [told], 5)
    assert streamed is not None
    items = pa.chunked_array([pa.array(CATALOGUE.ids)])
    batch = sequences(log(), items, TOLD.types, 6, 5, TOLD.surfaces).to_pylist()[0]
    row = streamed.row()
    for name in ("item_ids", "actions", "times", "event_ids", "arrivals", "surfaces", "as_of"):
        assert row[name] == batch[name], name
    assert row["surfaces"] == ["home", "", "search"]


def test_a_stored_row_of_before_surfaces_were_told_takes_new_events_and_keeps_theirs():
    old = append(None, [Event(1, "e1", "a", "click", math.nan)], 5)
    assert old is not None
    assert "surfaces" not in old.row()
    stored = append(old, [Event(2, "e2", "b", "click", math.nan, 2_000, "home")], 5)
    assert stored is not None
    assert stored.row()["surfaces"] == ["", "home"]
    snapshot = {**old.row(), "surfaces": ["search"], "created": 1_000}
    assert rebase(snapshot, stored.row(), 5)["surfaces"] == ["search", "home"]
