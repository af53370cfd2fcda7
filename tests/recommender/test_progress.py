"""Progress reaches whoever asked for it, and costs little."""

from __future__ import annotations

import json
import logging

from recommender.progress import VARIABLE, Progress, track


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_first_and_the_last_step_are_always_told(tmp_path, monkeypatch):
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(VARIABLE, str(path))
    assert list(track(range(1000), "count")) == list(range(1000))
    told = records(path)
    assert told[0] == {"label": "count", "done": 0, "total": 1000, "note": ""}
    assert told[-1]["done"] == 1000


def test_fast_work_is_not_slowed_by_telling_every_step(tmp_path, monkeypatch):
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(VARIABLE, str(path))
    for _ in track(range(100_000), "count"):
        pass
    assert len(records(path)) < 100


def test_a_note_travels_with_the_count(tmp_path, monkeypatch):
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(VARIABLE, str(path))
    Progress("epoch", 1).advance(note="loss 4.21")
    assert records(path)[-1] == {"label": "epoch", "done": 1, "total": 1, "note": "loss 4.21"}


def test_without_a_listener_progress_goes_to_the_log(monkeypatch, caplog):
    monkeypatch.delenv(VARIABLE, raising=False)
    with caplog.at_level(logging.INFO):
        list(track([1, 2], "encode"))
    assert "encode: 2 of 2" in caplog.text


def test_what_has_no_length_has_no_total(tmp_path, monkeypatch):
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(VARIABLE, str(path))
    list(track(iter("ab"), "stream"))
    assert records(path)[0]["total"] is None
