"""Draws a running pipeline for a person: a line per step, a bar for the work at hand.

The steps run in processes of their own and tell their progress through a file
(`recommender/progress.py`); a thread follows it. Without a terminal, one line per step is
printed and no bars.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

_POLL_S = 0.1


@contextmanager
def showing(path: Path, console: Console) -> Iterator[None]:
    """Follow the progress file at `path` until the block ends, and draw it on `console`."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        Elapsed(),
        TextColumn("{task.fields[note]}"),
    )
    over = threading.Event()
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bars:
        picture = _Picture(bars, console)
        thread = threading.Thread(target=_follow, args=(path, picture, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            picture.finish_step()


class _Picture:
    """What is on the screen: finished steps as lines, the current work as one bar."""

    def __init__(self, bars: Progress, console: Console) -> None:
        self._bars = bars
        self._console = console
        self._step = ""
        self._started = 0.0
        self._bar: Any = None
        self._label = ""

    def take(self, record: dict[str, Any]) -> None:
        """Show one record of the progress file."""
        if "step" in record:
            self.finish_step()
            self._step, self._started = record["step"], time.monotonic()
            self._show(record["step"], None)
            return
        if record["label"] != self._label:
            self._show(f"{self._step}: {record['label']}", record["total"])
            self._label = record["label"]
        self._bars.update(self._bar, completed=record["done"], note=record["note"])

    def finish_step(self) -> None:
        """Write the line of the step that has just ended."""
        if self._step:
            seconds = time.monotonic() - self._started
            self._console.print(f"  [green]·[/] {self._step:<12} [dim]{seconds:6.1f} s[/]")
        self._step = ""
        self._clear()

    def _show(self, description: str, total: int | None) -> None:
        self._clear()
        self._bar = self._bars.add_task(description, total=total, note="")

    def _clear(self) -> None:
        if self._bar is not None:
            self._bars.remove_task(self._bar)
        self._bar, self._label = None, ""


def _follow(path: Path, picture: _Picture, over: threading.Event) -> None:
    """Feed every complete line that is appended to `path` to the picture."""
    position = 0
    while True:
        last = over.is_set()
        if path.exists():
            with path.open(encoding="utf-8") as stream:
                stream.seek(position)
                while (line := stream.readline()).endswith("\n"):
                    position = stream.tell()
                    picture.take(json.loads(line))
        if last:
            return
        over.wait(_POLL_S)
