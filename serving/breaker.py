"""Not asking for a while what has just failed again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """Tells whether something that failed is worth asking; safe to share between threads.

    After some failures in a row nothing is asked for a pause. Then one question is let through:
    if it is answered all are asked again, if it fails the next pause begins. So a dead store costs
    one deadline per pause, and not one per request.

    Args:
        failures: in a row, after which the pause begins.
        pause_s: length of the pause.
        clock: seconds that only go forward.
    """

    def __init__(
        self, failures: int, pause_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._pause_s = pause_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = 0
        self._next = 0.0

    @property
    def closed(self) -> bool:
        """Whether everything is asked."""
        return self._failed < self._limit

    def lets_through(self) -> bool:
        """Tell whether to ask now; whoever does must say how it ended."""
        with self._lock:
            if self._failed < self._limit:
                return True
            now = self._clock()
            if now < self._next:
                return False
            # One question at a time: the others wait for how it ends, for a pause at most.
            self._next = now + self._pause_s
            return True

    def succeeded(self) -> None:
        """Say that an answer came."""
        with self._lock:
            self._failed = 0

    def failed(self) -> None:
        """Say that none came."""
        with self._lock:
            self._failed += 1
            if self._failed >= self._limit:
                self._next = self._clock() + self._pause_s
