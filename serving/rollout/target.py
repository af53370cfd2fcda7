"""What a rollout needs of the place where models are served, and of the traffic that it judges.

Three kinds of places fit behind `Target`: processes on this machine (`serving.rollout.local`), an
InferenceService, and a Git repository that a controller follows. The engine knows none of them.
`Shadowing`, `Metered` and `Chronicling` are more than every place can do; a target that can simply
has their methods, too.

Every method can be called again after a kill and then finds done what was done.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Protocol, runtime_checkable

from recommender.errors import RolloutError
from serving.rollout.records import Arm, Record
from serving.rollout.shadow import Comparison
from serving.rollout.state import State


class CandidateError(RolloutError):
    """The candidate can't be served (broken, tampered with, crashes): it is rolled back."""


class Target(Protocol):
    """Where models are served. Versions are the registry's."""

    def live(self) -> str | None:
        """Return the version that everybody gets at this moment, or None if nobody gets any.

        While a rollout splits the live traffic itself, that is the stable arm's version.
        """
        ...

    def start_stable(self, version: str) -> None:
        """Make sure that the stable arm is served.

        Raises:
            ServingError: it can't be.
        """
        ...

    def start_candidate(self, version: str) -> None:
        """Make sure that the candidate's arm is ready; it gets no traffic by that.

        Raises:
            CandidateError: it never becomes ready; the message says why.
        """
        ...

    def set_weight(self, percent: int) -> None:
        """Give the candidate's arm a share of the rollout's traffic, the stable arm the rest."""
        ...

    def check(self) -> None:
        """Look at both arms.

        Raises:
            CandidateError: the candidate's arm is no longer there.
            ServingError: the stable arm is no longer there.
        """
        ...

    def prepare(self, version: str) -> None:
        """Make a version ready to be what everybody gets; nobody gets it yet.

        Raises:
            CandidateError: it never becomes ready.
        """
        ...

    def promote(self, version: str) -> None:
        """Give a prepared version to everybody, at once, and end everything else."""
        ...

    def rollback(self) -> None:
        """End both arms and whatever was prepared; what everybody gets stays as it is.

        Where the live traffic itself was split, all of it goes to the stable arm again.
        """
        ...


@runtime_checkable
class Shadowing(Protocol):
    """A target that can let the candidate answer a copy of the live traffic, to nobody."""

    def shadow(self, version: str, percent: float) -> None:
        """Copy this share of the live users' requests to a server of the version; 0 ends it.

        What people are answered is neither delayed nor changed by that. From here on, `check` and
        `memory` are about this server and the one that people are served from.

        Raises:
            CandidateError: it never becomes ready.
        """
        ...

    def compared(self) -> Sequence[Comparison]:
        """Return what was compared since the last call, each request once."""
        ...


@runtime_checkable
class Metered(Protocol):
    """A target that can tell how much memory its arms hold."""

    def memory(self) -> dict[Arm, int]:
        """Return the resident bytes of each arm that runs at this moment."""
        ...


@runtime_checkable
class Chronicling(Protocol):
    """A target that writes down why it was changed, a Git repository for one."""

    def note(self, state: State) -> None:
        """Take in what the calls that follow belong to: the rollout, its verdicts, its reason.

        The engine says so before each phase and each step, and before it takes a rollout back.
        """
        ...


class Traffic(Protocol):
    """Users whose requests are split between the arms."""

    @property
    def users(self) -> int:
        """How many there are."""
        ...

    @property
    def fingerprint(self) -> str:
        """Says whether two traffics are the same users in the same order."""
        ...

    def observe(
        self, step: int, seen: Container[str], count: int, stop: Callable[[], bool]
    ) -> Iterator[list[Record]]:
        """Send the requests of the next users and say what came back.

        Args:
            step: index of the rollout's step.
            seen: pseudonyms of users who had their turn.
            count: of users.
            stop: asked several times a second; once it says so, nothing more is sent or awaited.

        Yields:
            records in portions, in the order of the users, one per user.

        Raises:
            ServingError: nothing can be reached at all, which is no arm's fault.
        """
        ...


@runtime_checkable
class Arrivals(Protocol):
    """Live traffic: requests that people make by themselves, split between the arms."""

    @property
    def fingerprint(self) -> str:
        """Says whether two traffics are judged in the same way."""
        ...

    def begin(self, step: int, began_ms: int, known: Sequence[Record]) -> None:
        """Tell of this step from here on; called again after a kill.

        Args:
            step: index of the rollout's step.
            began_ms: when it was given its share, UTC milliseconds.
            known: what has arrived already, in all steps.
        """
        ...

    def arrived(self) -> Sequence[Record]:
        """Return what has become known since the last call, in the order of time; doesn't wait.

        A request may be told of twice: by its answer, and later by what followed from it
        (`Record.tells`).

        Raises:
            UserError: what was recorded can't be read.
        """
        ...


class Champions(Protocol):
    """Who is champion. `recommender.registry.Registry` is one."""

    def champion(self) -> str | None:
        """Return the version that serves, or None before the first one."""
        ...

    def promote(
        self, version: str, *, run_id: str = "", reason: str = "", over: str | None = "any"
    ) -> None:
        """Make a version the champion, atomically; only if `over` still is, unless it is "any"."""
        ...

    def withdraw(self, version: str, *, run_id: str = "", reason: str = "") -> None:
        """Let a version be the candidate no longer."""
        ...
