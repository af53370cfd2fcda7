"""A place for runs that remembers what was started, and causes to start them with."""

from __future__ import annotations

from pipelines.triggers.book import TriggeredRun
from pipelines.triggers.cause import Cause, Kind


def landed(name: str = "1") -> Cause:
    return Cause(name, Kind.LANDED, f"file {name}")


def asked(name: str = "a") -> Cause:
    return Cause(name, Kind.ASKED, "please")


class Memory:
    """A place that remembers what was started, and says what it is told to say."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ends: list[tuple[str, str] | None] = []
        self.refuses: list[Exception] = []

    def start(self, run: TriggeredRun) -> str:
        if self.refuses:
            raise self.refuses.pop(0)
        self.started.append(run.id)
        return "7"

    def outcome(self, run: TriggeredRun):
        return self.ends.pop(0) if self.ends else None
