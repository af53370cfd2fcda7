"""Looks at the arms of a rollout, and waits until what Git says of them is seen to be so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recommender.errors import RolloutError, ServingError
from serving.rollout.gitops.folder import Current
from serving.rollout.gitops.observers import Observer
from serving.rollout.kserve.status import Progress, Reading
from serving.rollout.target import CandidateError


@dataclass(frozen=True)
class Patience:
    """How long is waited for what a commit brings about.

    Attributes:
        timeout_s: for the controller and the cluster to carry it out.
        poll_s: between two looks.
        unready_s: how long an arm that was ready may be not ready.
    """

    timeout_s: float = 900.0
    poll_s: float = 5.0
    unready_s: float = 60.0


class Arms:
    """The arms `stable` and `candidate`, as an observer sees them.

    Args:
        observer: sees what became of a commit.
        patience: how long that may take.
        pause: waits for some seconds.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        observer: Observer,
        patience: Patience,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observer = observer
        self._patience = patience
        self._pause = pause
        self._clock = clock
        self._unready: dict[str, float] = {}
        self._looked = -float("inf")

    def due(self) -> bool:
        """Whether it is time for another look at arms that were ready."""
        if self._clock() - self._looked < self._patience.poll_s:
            return False
        self._looked = self._clock()
        return True

    def changed(self) -> None:
        """Take in that a commit is about to change the arms."""
        self._unready.clear()

    def check(self, current: Current) -> None:
        """Look at both arms.

        Raises:
            CandidateError: the candidate isn't ready any more.
            ServingError: the stable arm isn't ready any more.
        """
        # The stable one first: where both are gone, it wasn't the candidate.
        for arm in ("stable", "candidate"):
            reading = self._read(arm, current)
            if reading.progress is Progress.READY:
                self._unready.pop(arm, None)
                continue
            since = self._unready.setdefault(arm, self._clock())
            if (
                reading.progress is Progress.FAILED
                or self._clock() - since >= self._patience.unready_s
            ):
                raise _lost(arm, f"the {arm} arm is no longer ready: {reading.reason}")

    def wait(self, arm: str, current: Current, still_said: Callable[[], None]) -> None:
        """Wait until what a commit says of an arm is seen to be so.

        Args:
            arm: `stable` or `candidate`.
            current: what Git says.
            still_said: raises if Git says something else by now; called when time is up.

        Raises:
            CandidateError: the candidate never becomes ready.
            ServingError: the stable arm doesn't, or nothing is heard of the commit.
        """
        deadline = self._clock() + self._patience.timeout_s
        while (reading := self._read(arm, current)).progress is not Progress.READY:
            if reading.progress is Progress.FAILED:
                raise _lost(arm, f"the {arm} arm can't be served: {reading.reason}")
            if self._clock() >= deadline:
                still_said()
                told = f"not after {self._patience.timeout_s:g} s: {reading.reason}"
                if not reading.reported:
                    # The controller is silent; that says nothing of the candidate.
                    raise ServingError(
                        f"commit {current.commit[:12]} is not carried out, {told}",
                        "look at the controller that follows the branch, then run again",
                    )
                raise _lost(arm, f"the {arm} arm is not ready, {told}")
            self._pause(self._patience.poll_s)

    def _read(self, arm: str, current: Current) -> Reading:
        see: Mapping[str, Callable[..., Reading]] = {
            "stable": self._observer.stable,
            "candidate": self._observer.candidate,
        }
        return see[arm](current.shares, current.people.mode)


def _lost(arm: str, told: str) -> RolloutError | ServingError:
    return CandidateError(told) if arm == "candidate" else ServingError(told)
