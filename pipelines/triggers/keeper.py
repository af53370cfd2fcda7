"""Keeps runs going: starts what is due, looks how it ended, starts again what crashed."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from pipelines.run import new_run_id
from pipelines.triggers.book import UNREFRESHED, Book, TriggeredRun
from pipelines.triggers.cause import Cause
from pipelines.triggers.places import CRASHED, Place
from recommender.config.triggers import TriggersConfig
from recommender.errors import UserError

logger = logging.getLogger("ostinato.triggers")

STARTS = 3
"""How often a run is started, crashes included."""

_LONGEST_PAUSE_S = 300.0
"""Between two attempts to start a run; the backend makes its own in between."""


class Keeper:
    """Brings the book and the place where runs go into line. Killed, the next one goes on.

    Where several keep one book (`serve` and `watch`), one of them acts at a time.

    Args:
        book: of causes and runs.
        place: where runs go.
        config: when one is due.
        checks: are asked for causes every `check_s`; what one raises is logged.
        clock: seconds since 1970.
        read: returns causes that every run answers, since it reads what they tell of: the source as
            it is when the run starts. Noticing that later is no reason for another run.
    """

    def __init__(
        self,
        book: Book,
        place: Place,
        config: TriggersConfig,
        checks: Sequence[Callable[[], list[Cause]]] = (),
        clock: Callable[[], float] = time.time,
        read: Callable[[], list[Cause]] = list,
    ) -> None:
        self._book = book
        self._place = place
        self._config = config
        self._checks = checks
        self._clock = clock
        self._read = read
        self._checked = -float("inf")
        self._said: dict[str, str] = {}
        self._again: dict[str, tuple[float, float]] = {}  # by run: not before, and the next pause
        self._heard = clock()

    def keep(self, stopped: threading.Event) -> None:
        """Tend until told to stop; runs go on without it."""
        while not stopped.is_set():
            try:
                self.tend()
            except Exception:  # a defect of ours ends neither the looking nor the door
                logger.exception("the look at what is due has failed; the next one goes on")
            stopped.wait(self._config.poll_s)

    def well(self) -> bool:
        """Tell whether it came to the end of something within `longest_look_s`."""
        return self._clock() - self._heard <= self._config.longest_look_s

    def tend(self) -> None:
        """Look at everything once, unless somebody else does so right now."""
        with self._book.tended() as ours:
            if ours:
                self._tend()
        self._heard = self._clock()

    def _tend(self) -> None:
        if self._checks and self._clock() - self._checked >= self._config.check_s:
            self.check()
        for run in self._book.going():
            self._try(run, partial(self._look_at, run))
        due = self._book.claim(new_run_id(), self._config, self._clock())
        if due is not None:
            why = "; ".join(cause.why for cause in due.causes)
            logger.info("run %s (%s): %s", due.id, due.pipeline, why)
            self._try(due, partial(self._start, due))

    def check(self) -> None:
        """Ask all checks for causes."""
        self._checked = self._clock()
        for check in self._checks:
            try:
                self._book.add(check(), self._clock())
            except UserError as error:
                logger.warning("a check could not be made: %s", error)
            except Exception:
                logger.exception("a check has failed, which is a defect; the others go on")
                continue
            self._heard = self._clock()

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
        if state == UNREFRESHED:
            training = self._book.train_instead(run.id, new_run_id(), told, self._clock())
            logger.warning(
                "run %s could not refresh the champion (%s); run %s trains",
                run.id,
                told,
                training.id,
            )
            self._start(training)
            return
        logger.info("run %s: %s %s", run.id, state, told)
        self._book.ended(run.id, state, told, self._clock())

    def _try(self, run: TriggeredRun, work: Callable[[], None]) -> None:
        """Do something about a run; what is in its way is in the way of no other one."""
        try:
            work()
        except UserError as error:  # it stands in the book; a later look goes on
            self._warn(run, error)
        except Exception:
            logger.exception("run %s: the look at it has failed, which is a defect", run.id)
            return
        self._heard = self._clock()

    def _warn(self, run: TriggeredRun, error: UserError) -> None:
        """Log what is in a run's way, once and not at every look."""
        if self._said.get(run.id) != str(error):
            self._said[run.id] = str(error)
            logger.warning("run %s has to wait: %s", run.id, error)

    def _start(self, run: TriggeredRun) -> None:
        due, pause = self._again.get(run.id, (-float("inf"), self._config.poll_s))
        if self._clock() < due:
            return
        try:
            for cause in self._read():
                self._book.note(cause, self._clock())
            handle = self._place.start(run)
        except UserError as error:
            if error.passing:
                due = self._clock() + pause * random.uniform(0.5, 1.5)  # noqa: S311 no secret
                self._again[run.id] = (due, min(2 * pause, _LONGEST_PAUSE_S))
                self._book.delayed(run.id, str(error))
                raise
            self._again.pop(run.id, None)
            self._book.ended(run.id, "REFUSED", str(error), self._clock())
            logger.error("run %s was refused: %s", run.id, error)  # noqa: TRY400 a user's mistake
            return
        self._again.pop(run.id, None)
        self._book.started(run.id, handle)


class Keeping:
    """A keeper at work in a thread of its own.

    Args:
        keeper: what works.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=keeper.keep, args=(self._stopped,), daemon=True)

    def begin(self) -> None:
        """Start working."""
        self._thread.start()

    def end(self) -> None:
        """Stop working, after what is being done; half a minute is waited for that."""
        self._stopped.set()
        self._thread.join(30)

    def well(self) -> bool:
        """Tell whether it works: alone, a door takes what nobody will ever act upon."""
        return self._thread.is_alive() and self._keeper.well()
