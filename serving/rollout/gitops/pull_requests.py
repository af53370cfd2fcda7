"""A rollout that begins with a pull request: the bot proposes, a person merges.

The proposal is a branch `ostinato/rollout-<id>` with one commit. That it was merged is seen in Git,
however it was done (merge, squash, rebase; on a forge or by hand). A forge is asked for the pull
request, and whether it was closed instead; without one, deleting the branch declines it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from recommender.errors import RolloutError
from serving.rollout.gitops.folder import Current, Decide, Folder
from serving.rollout.gitops.messages import Step
from serving.rollout.gitops.repository import PUSHED
from serving.rollout.state import State
from serving.rollout.target import CandidateError

logger = logging.getLogger(__name__)


class Forge(Protocol):
    """Where pull requests are made."""

    def open(self, branch: str, base: str, title: str, body: str) -> str:
        """Make sure that there is a pull request, and return its address for people.

        Raises:
            RolloutError: the forge refuses it, or can't be reached.
        """
        ...

    def declined(self, branch: str, base: str) -> bool:
        """Say whether it was closed without being merged.

        Raises:
            RolloutError: the forge can't be asked.
        """
        ...

    def close(self, branch: str, base: str, comment: str) -> None:
        """Close it, if it is open.

        Raises:
            RolloutError: the forge refuses it, or can't be reached.
        """
        ...


class NoForge:
    """No forge: the branch itself is the request."""

    def open(self, branch: str, base: str, title: str, body: str) -> str:  # noqa: ARG002
        """Return how to merge the branch."""
        return f"branch {branch}: merge it into {base}, or delete it to decline"

    def declined(self, branch: str, base: str) -> bool:  # noqa: ARG002
        """Say no: only the branch can tell."""
        return False

    def close(self, branch: str, base: str, comment: str) -> None:
        """Do nothing; the branch is deleted by whoever calls this."""


class Proposals:
    """Proposes starts of rollouts.

    Args:
        folder: that is changed.
        forge: where the pull requests are made.
        timeout_s: longest wait for a merge.
        poll_s: pause between two looks.
        pause: waits for some seconds.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        folder: Folder,
        forge: Forge,
        timeout_s: float,
        poll_s: float,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._forge = forge
        self._timeout_s = timeout_s
        self._poll_s = poll_s
        self._pause = pause
        self._clock = clock

    def accepted(self, decide: Decide, state: State) -> None:
        """Propose a change and wait until it is merged; at once if it was before.

        Args:
            decide: says who is to be served.
            state: of the rollout.

        Raises:
            CandidateError: people have declined it.
            RolloutError: nobody has merged it in time, or it was merged with changes.
        """
        repository, branch = self._folder.repository, _branch(state)
        approved, proposed = _reference("approved", state), _reference("proposed", state)
        if repository.known(approved):
            # It was merged once; a rollout that was cut off goes on by commits.
            self._folder.write(Step.START, decide, state.id, state)
            return
        if not _ours(current := self._folder.look(), state) and not repository.known(proposed):
            if repository.head(branch) is None:
                self._folder.write(Step.START, decide, state.id, state, branch)
            if head := repository.head(branch):
                repository.remember(proposed, head)
        deadline = self._clock() + self._timeout_s
        where = ""
        while not _ours(current := self._folder.look(), state):
            decide(current)  # raises if something else is there by now
            head = repository.head(branch)
            if head is not None and not where:
                title, _, body = repository.message(head).partition("\n")
                where = self._forge.open(branch, repository.branch, title, body.strip())
                logger.info("waiting for people to merge: %s", where)
            if head is None or self._forge.declined(branch, repository.branch):
                if _ours(self._folder.look(), state):
                    break  # merged a moment ago, and the branch deleted with it
                raise CandidateError(f"people have declined the rollout ({where or branch})")
            if self._clock() >= deadline:
                raise RolloutError(
                    f"nobody has merged the start of the rollout in {self._timeout_s:g} s: {where}",
                    "merge it sooner, or set rollout.targets.gitops.merge_timeout_s",
                )
            self._pause(self._poll_s)
        if current.found.edited or self._as_proposed(current, repository.known(proposed)) is False:
            raise self._folder.foreign(current, "the proposal was merged with changes")
        repository.remember(approved, current.commit)
        repository.remember(PUSHED, current.commit)
        repository.delete(branch)

    def withdraw(self, state: State, reason: str) -> None:
        """Close the proposal of a rollout and delete its branch, if they are there.

        Args:
            state: of the rollout.
            reason: why, for people.

        Raises:
            RolloutError: the remote or the forge can't be reached.
        """
        repository, branch = self._folder.repository, _branch(state)
        if repository.head(branch) is not None:
            self._forge.close(branch, repository.branch, reason)
            repository.delete(branch)

    def _as_proposed(self, current: Current, proposed: str | None) -> bool | None:
        """Say whether the merged folder is the proposed one; None if that isn't known any more."""
        if proposed is None:
            return None
        return self._folder.read(proposed).files == current.files


def _ours(current: Current, state: State) -> bool:
    """Whether the branch has the start of a rollout."""
    candidate = current.shares.candidate
    ours = current.found.rollout == state.id
    return ours and candidate is not None and candidate.version == state.candidate


def _branch(state: State) -> str:
    return f"ostinato/rollout-{state.id}"


def _reference(kind: str, state: State) -> str:
    return f"refs/ostinato/{kind}/{state.id}"
