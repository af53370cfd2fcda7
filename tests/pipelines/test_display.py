"""What a person sees of a running pipeline."""

from __future__ import annotations

import io
import json
import time

from rich.console import Console

from pipelines.display import showing


def test_steps_become_lines_and_their_work_a_bar(tmp_path):
    path = tmp_path / "progress.jsonl"
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with showing(path, console), path.open("a", encoding="utf-8") as stream:
        for record in (
            {"step": "ingest"},
            {"step": "train"},
            {"label": "epoch 1", "done": 3, "total": 8, "note": "loss 4.2"},
        ):
            stream.write(json.dumps(record) + "\n")
        stream.flush()
        time.sleep(0.5)
    seen = screen.getvalue()
    assert "ingest" in seen
    assert "train: epoch 1" in seen
    assert "3/8" in seen
    assert "loss 4.2" in seen


def test_without_a_terminal_there_is_a_line_per_step_and_no_bar(tmp_path):
    path = tmp_path / "progress.jsonl"
    path.write_text('{"step": "ingest"}\n{"label": "a", "done": 1, "total": 2, "note": ""}\n')
    screen = io.StringIO()
    with showing(path, Console(file=screen, force_terminal=False)):
        pass
    lines = [line for line in screen.getvalue().splitlines() if line.strip()]
    assert len(lines) == 1
    assert "ingest" in lines[0]


def test_a_line_that_is_still_being_written_is_not_read_early(tmp_path):
    path = tmp_path / "progress.jsonl"
    screen = io.StringIO()
    with showing(path, Console(file=screen)), path.open("a", encoding="utf-8") as stream:
        stream.write('{"step": "in')
        stream.flush()
        time.sleep(0.3)
        stream.write('gest"}\n')
    assert "ingest" in screen.getvalue()
