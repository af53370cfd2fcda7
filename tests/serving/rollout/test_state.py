"""The journal and the states on disk."""

from __future__ import annotations

import pytest

from recommender.errors import RolloutError, StorageError
from serving.rollout.plan import Plan, Step
from serving.rollout.records import Arm, Journal, Record
from serving.rollout.state import Phase, Rollouts

PLAN = Plan((Step(50, 100, 80), Step(100, 30, 30)), (5,), 130)


def record(user, **more):
    return Record(
        **{
            "user": user,
            "step": 0,
            "arm": Arm.CANDIDATE,
            "version": "m-1",
            "status": 200,
            "latency_ms": 3.5,
            "hit": None,
            **more,
        }
    )


def test_records_come_back_as_they_were(tmp_path):
    journal = Journal(tmp_path / "deep" / "records.jsonl")
    assert journal.read() == []
    first = [record("a"), record("b", hit=True, fallback="no_history", arm=Arm.STABLE)]
    journal.append(first)
    journal.append([record("c", status=0, error="it broke, “so” what\n")])
    assert journal.read() == [*first, record("c", status=0, error="it broke, “so” what\n")]


def test_a_line_that_a_kill_cut_off_is_forgotten_and_nothing_is_glued_to_it(tmp_path):
    path = tmp_path / "records.jsonl"
    journal = Journal(path)
    journal.append([record("a"), record("b")])
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        lines = whole[:cut].count(b"\n")
        assert [r.user for r in journal.read()] == ["a", "b"][:lines]
        journal.append([record("z")])
        assert [r.user for r in journal.read()] == [*["a", "b"][:lines], "z"]


def test_a_user_counts_once(tmp_path):
    journal = Journal(tmp_path / "records.jsonl")
    journal.append([record("a", latency_ms=1.0)])
    journal.append([record("a", latency_ms=2.0), record("b")])
    assert [(r.user, r.latency_ms) for r in journal.read()] == [("a", 1.0), ("b", 3.5)]


def test_a_damaged_journal_is_said_by_its_file(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"user": "a"}\n')
    with pytest.raises(StorageError, match=r"records\.jsonl is damaged"):
        Journal(path).read()


def test_states_come_back_as_they_were_in_the_order_of_time(tmp_path):
    rollouts = Rollouts(tmp_path)
    first = rollouts.begin("m-000000000002", "m-000000000001", "f", PLAN)
    rollouts.save(first.moved(Phase.ROLLED_BACK, "over"))
    second = rollouts.begin("m-000000000003", "m-000000000001", "f", PLAN)
    told = rollouts.all()
    assert [state.candidate for state in told] == ["m-000000000002", "m-000000000003"]
    assert told[1] == second
    assert [moment.note for moment in told[0].timeline][-1] == "over"
    assert rollouts.unfinished() == (second,)


def test_a_state_of_another_format_is_refused(tmp_path):
    rollouts = Rollouts(tmp_path)
    state = rollouts.begin("m-000000000002", "m-000000000001", "f", PLAN)
    path = tmp_path / state.id / "state.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(RolloutError, match="format"):
        rollouts.all()
