"""Waits until KServe's controller has carried out what an InferenceService was changed to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from recommender.errors import ServingError
from serving.rollout.kserve.status import Progress, Reading

Service = dict[str, Any]


class Waiting:
    """Looks at an InferenceService until a change of it is done or has failed, or time is up.

    Args:
        name: of the InferenceService, for messages.
        read: returns it, or None if there is none.
        timeout_s: how long is waited.
        poll_s: between two looks.
    """

    def __init__(
        self, name: str, read: Callable[[], Service | None], timeout_s: float, poll_s: float
    ) -> None:
        self._name = name
        self._read = read
        self._timeout_s = timeout_s
        self._poll_s = poll_s

    def result(self, read: Callable[[Service], Reading]) -> Reading:
        """Return what is read of the status at the end.

        Raises:
            ServingError: the InferenceService has been deleted.
        """
        deadline = time.monotonic() + self._timeout_s
        while True:
            service = self._read()
            if service is None:
                raise ServingError(f"{self._name} has been deleted")
            reading = read(service)
            left = deadline - time.monotonic()
            if reading.progress is not Progress.PROGRESSING or left <= 0:
                return reading
            time.sleep(min(self._poll_s, left))

    def carried_out(self, read: Callable[[Service], Reading], what: str) -> None:
        """Wait until a change is done.

        Raises:
            ServingError: it isn't.
        """
        reading = self.result(read)
        if reading.progress is not Progress.READY:
            raise ServingError(
                f"{what} is written down, but KServe has not carried it out: {self.late(reading)}",
                "look at the log of KServe's controller, then run again",
            )

    def late(self, reading: Reading) -> str:
        """Say why something is not ready."""
        if reading.progress is Progress.FAILED:
            return reading.reason
        return f"after {self._timeout_s:g} s {reading.reason}"
