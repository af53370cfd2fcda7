"""Keeps runs going: starts what is due, looks how it ended, starts again what crashed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from pipelines.run import new_run_id
from pipelines.triggers.book import Book, TriggeredRun
from pipelines.triggers.cause import Cause
from pipelines.triggers.places import CRASHED, Place
from recommender.config.triggers import TriggersConfig
from recommender.errors import UserError

logger = logging.getLogger("ostinato.triggers")

STARTS = 3
"""How often a run is started, crashes included."""


class Keeper:
    """Brings the book and the place where runs go into line. Killed, the next one goes on.

    Args:
        book: of causes and runs.
        place: where runs go.
        config: when one is due.
        checks: are asked for causes every `check_s`; what one raises is logged.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        book: Book,
        place: Place,
        config: TriggersConfig,
        checks: Sequence[Callable[[], list[Cause]]] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._book = book
        self._place = place
        self._config = config
        self._checks = checks
        self._clock = clock
        self._checked = -float("inf")

    def keep(self, stopped: threading.Event) -> None:
        """Tend until told to stop; runs go on without it."""
        while not stopped.is_set():
            self.tend()
            stopped.wait(self._config.poll_s)

    def tend(self) -> None:
        """Look at everything once."""
        if self._checks and self._clock() - self._checked >= self._config.check_s:
            self.check()
        for run in self._book.going():
            try:
                self._look_at(run)
            except UserError as error:
                logger.warning("run %s: %s", run.id, error)
        due = self._book.claim(new_run_id(), self._config, self._clock())
        if due is not None:
            logger.info("run %s: %s", due.id, "; ".join(cause.why for cause in due.causes))
            try:
                self._start(due)
            except UserError as error:  # it stands in the book; the next look starts it
                logger.warning("run %s can't be started: %s", due.id, error)

    def check(self) -> None:
        """Ask all checks for causes."""
        self._checked = self._clock()
        for check in self._checks:
            try:
                self._book.add(check(), self._clock())
            except UserError as error:
                logger.warning("a check could not be made: %s", error)

    def _look_at(self, run: TriggeredRun) -> None:
        if run.state == "STARTING":
            self._start(run)
            return
        ended = self._place.outcome(run)
        if ended is None:
            return
        state, told = ended
        if state == CRASHED and run.starts < STARTS:
            logger.warning("run %s has crashed and is started again: %s", run.id, told)
            self._start(run)
            return
        logger.info("run %s: %s %s", run.id, state, told)
        self._book.ended(run.id, state, told, self._clock())

    def _start(self, run: TriggeredRun) -> None:
        try:
            handle = self._place.start(run)
        except UserError as error:
            if error.passing:
                raise
            self._book.ended(run.id, "REFUSED", str(error), self._clock())
            logger.error("run %s was refused: %s", run.id, error)  # noqa: TRY400 a user's mistake
            return
        self._book.started(run.id, handle)
