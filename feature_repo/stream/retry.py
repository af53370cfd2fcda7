"""Trying again when a store can't be reached: growing pauses with jitter, and an end.

The pause before attempt n is drawn evenly from 0 … min(longest, first · 2ⁿ) ("full jitter", see
Brooker, *Exponential Backoff And Jitter*, 2015), so that consumers that lost the same store don't
come back to it at the same moments.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from recommender.errors import FeatureError, StorageError

T = TypeVar("T")

FIRST_S, LONGEST_S = 0.1, 5.0
PASSING = (FeatureError, StorageError)
"""What a store says that is down, full or locked."""

logger = logging.getLogger("ostinato.stream")


def pause_s(attempt: int) -> float:
    """Draw the pause after a failed attempt, seconds.

    Args:
        attempt: how many failed before it.
    """
    return random.uniform(0, min(LONGEST_S, FIRST_S * 2 ** min(attempt, 20)))  # noqa: S311


def retried(
    action: Callable[[], T],
    within_s: float,
    pause: Callable[[float], object] = time.sleep,
    on_failure: Callable[[], object] = lambda: None,
) -> T:
    """Call `action` until it succeeds.

    Args:
        action: may be called again after it failed.
        within_s: how long to go on; the last error is raised then.
        pause: waits for some seconds.
        on_failure: called after every failed attempt.

    Raises:
        FeatureError, StorageError: what `action` raised last.
    """
    started = time.monotonic()
    attempt = 0
    while True:
        try:
            return action()
        except PASSING as error:
            on_failure()
            left = within_s - (time.monotonic() - started)
            wait = pause_s(attempt)
            if left <= 0:
                raise
            attempt += 1
            logger.warning("attempt %d failed, next in %.1f s: %s", attempt, wait, error.message)
            pause(min(wait, left))
