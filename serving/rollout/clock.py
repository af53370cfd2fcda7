"""Time, as a rollout sees it: so that a soak of an hour can be tested in a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """What a rollout waits by.

    Attributes:
        now: seconds that only ever grow.
        sleep: waits for so many seconds.
        wall_ms: UTC milliseconds.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    wall_ms: Callable[[], int] = lambda: int(time.time() * 1000)
