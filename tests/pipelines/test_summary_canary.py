"""What is printed of a canary when a run is over."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.run import Run
from pipelines.summary import print_summary


@pytest.fixture
def printed(tmp_path: Path):
    def show(**deployed: object) -> str:
        told = {"champion": "m-1", "endpoint": "http://here", "steps": [], **deployed}
        out = io.StringIO()
        run = Run("r", tmp_path, 1.0, {"deploy": {"status": "succeeded", "summary": told}})
        print_summary(run, Console(file=out, width=200), "ask USER")
        return out.getvalue()

    return show


def test_a_roll_back_is_said_with_its_reason(printed):
    text = printed(outcome="rolled_back", reason="at 25 %: hit rate\n[red] is part of a log")
    assert "rolled back: the candidate did not win its place; champion is m-1" in text
    assert "at 25 %: hit rate" in text
    assert "[red] is part of a log" in text


def test_steps_that_were_left_out_are_named(printed):
    text = printed(outcome="promoted", reason="at 100 %: fine", left_out=[5, 25])
    assert "promoted; champion is m-1 at http://here" in text
    assert "left out for want of held-out users: 5 %, 25 %" in text
