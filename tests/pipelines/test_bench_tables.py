"""Tables of a comparison: no figure is cut, however little room there is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipelines.bench_tables import lay

NAMES = ("system", "NDCG@10", "HR@10", "unified − it", "CPU s", "learned", "ms")
GAP = "+0.0083 (+0.0076 to +0.0092)"
ROWS = [
    ("unified", "0.3640", "0.5511", "", "81", "341,661", "1.02"),
    ("matrix-factorisation-text", "0.3557", "0.5417", GAP, "93", "6,275,437", "2.18"),
]


def printed(width: int, *, terminal: bool) -> str:
    file = io.StringIO()
    screen = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    lay(screen, NAMES, ROWS, costs=3)
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_terminal_shows_every_figure_whole_within_its_width(width) -> None:
    told = printed(width, terminal=True)
    assert max(map(len, told.splitlines())) <= width
    assert "…" not in told
    for figure in ("matrix-factorisation-text", "0.3557", *GAP.split(), "6,275,437", "2.18"):
        assert figure in told


def test_a_pipe_gets_markdown_with_a_row_per_system() -> None:
    lines = printed(80, terminal=False).splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert lines[0].startswith("| system | NDCG@10 |")
    assert lines[1] == "| --- |" + " ---: |" * 6
    assert lines[-1] == "| " + " | ".join(ROWS[-1]) + " |"
