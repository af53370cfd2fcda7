"""A language that the text encoder doesn't know is said at the end of a run, where people look."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from pipelines.run import Run
from pipelines.summary import print_summary


def test_the_warnings_of_the_text_encoder_are_printed(tmp_path: Path):
    said = "73% of the tokens of 9 texts in chinese [dim]are unknown"
    steps = {"materialize": {"status": "succeeded", "summary": {"warnings": [said]}}}
    out = io.StringIO()
    print_summary(Run("r", tmp_path, 1.0, steps), Console(file=out, width=200), "ask USER")
    assert f"warning: {said}" in out.getvalue()
