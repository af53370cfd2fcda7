"""The rollout target of a Git repository that a controller follows: each step is one commit.

The branch itself is the durable state. Every method looks at its newest commit and commits only
what is missing there; so after a kill (between commit and push, or between push and whatever was to
be written down after it) the same call finds done what was done. A step counts as served once it
is seen on the cluster, not once it is pushed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from recommender.config import Config
from recommender.errors import RolloutError
from recommender.registry import Registry
from serving.rollout.gitops.arms import Arms, Patience
from serving.rollout.gitops.folder import Current, Decide, Folder
from serving.rollout.gitops.messages import Step
from serving.rollout.gitops.observers import Observer
from serving.rollout.gitops.pull_requests import Proposals
from serving.rollout.gitops.shares import Model, Shares
from serving.rollout.state import State

logger = logging.getLogger(__name__)


class GitOpsTarget:
    """Serves models by commits.

    Args:
        folder: the bot's, on the branch that a controller follows.
        model_of: tells of a version what a cluster is told of it.
        observer: sees what became of a commit.
        patience: how long that may take.
        proposals: makes pull requests to start rollouts by; None to start them by commits.
        pause: waits for some seconds.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        folder: Folder,
        model_of: Callable[[str], Model],
        observer: Observer,
        patience: Patience,
        proposals: Proposals | None = None,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._model_of = model_of
        self._observer = observer
        self._arms = Arms(observer, patience, pause, clock)
        self._proposals = proposals
        self._state: State | None = None

    @classmethod
    def of(cls, config: Config, registry: Registry) -> GitOpsTarget:
        """Return the target of a data set; see `serving.rollout.targets`.

        Raises:
            ConfigError: the repository isn't configured, or a token is missing.
            ServingError: the cluster is to be watched, and there is no way to it.
        """
        from serving.rollout.gitops.assembly import assembled

        return assembled(config, registry)

    def note(self, state: State) -> None:
        """Take in which rollout the calls that follow belong to, and its verdicts."""
        self._state = state

    def live(self) -> str | None:
        """Return the version that Git gives to everybody but a canary, None before the first.

        Raises:
            RolloutError: people have changed the bot's folder to something that isn't one of ours.
        """
        current = self._folder.look()
        if not current.found.edited:
            return current.shares.stable.version if current.shares.stable else None
        if model := self._folder.serves(current):
            return model.version
        raise self._folder.foreign(current, current.found.edited)

    def start_stable(self, version: str) -> None:
        """Wait until the stable arm is seen to be served; Git must say already that it is.

        Raises:
            ServingError: it isn't served.
            RolloutError: Git says something else.
        """
        current = self._intact(self._folder.look())
        if current.shares.stable is None or current.shares.stable.version != version:
            raise self._folder.foreign(current, f"{version} is not the stable arm in Git")
        self._wait("stable")

    def start_candidate(self, version: str) -> None:
        """Commit the canary, without traffic (or propose it), and wait until it is ready.

        Raises:
            CandidateError: it never becomes ready, or people have declined it.
            RolloutError: another canary is there, or Git says something else of the stable arm.
        """
        model = self._model_of(version)

        def decide(current: Current) -> Shares | None:
            shares = current.shares
            if self._has(current, version) and not current.found.edited:
                self._intact(current)
                return None
            if current.found.edited:
                if not self._folder.adoptable(current):
                    raise self._folder.foreign(current, current.found.edited)
                shares = Shares(shares.stable)
            if shares.candidate:
                raise self._others(current)
            stable = self._state.stable if self._state else None
            if shares.stable is None or (stable and shares.stable.version != stable):
                serves = shares.stable.version if shares.stable else "nothing"
                raise self._folder.foreign(
                    current, f"Git serves {serves}, the champion is {stable}"
                )
            return Shares(shares.stable, model, 0)

        current = self._folder.look()
        if not self._has(current, version):
            self._observer.preflight(current.people.mode)
        if self._proposals and self._state:
            self._proposals.accepted(decide, self._state)
        else:
            self._commit(Step.START, decide)
        self._wait("candidate")

    def set_weight(self, percent: int) -> None:
        """Commit the candidate's share and wait until it has it.

        Raises:
            CandidateError: it is no longer ready.
            RolloutError: people have taken the canary away or changed it.
        """

        def decide(current: Current) -> Shares | None:
            self._intact(current)
            if not self._has(current, self._state.candidate if self._state else None):
                raise self._folder.foreign(current, "the canary is not in Git any more")
            if current.shares.percent == percent:
                return None
            return replace(current.shares, percent=percent)

        self._commit(Step.WEIGHT, decide)
        self._wait("candidate")

    def check(self) -> None:
        """Look at both arms, and whether people have changed the bot's folder.

        Raises:
            CandidateError: the candidate isn't ready any more.
            ServingError: the stable arm isn't ready any more.
            RolloutError: people have changed the bot's folder.
        """
        if not self._arms.due():
            return
        current = self._intact(self._folder.look())
        if not self._has(current, self._state.candidate if self._state else None):
            raise self._folder.foreign(current, "the canary is not in Git any more")
        self._arms.check(current)

    def prepare(self, version: str) -> None:
        """Make sure that a version is ready; where it is no arm yet, commit it without traffic.

        Raises:
            CandidateError: it never becomes ready.
            RolloutError: another canary is there, or people have changed the bot's folder.
        """
        model = self._model_of(version)

        def decide(current: Current) -> Shares | None:
            shares = self._intact(current).shares
            if shares.stable is None or version in _versions(shares):
                return None
            if shares.candidate and not self._is_ours(current):
                raise self._others(current)
            return Shares(shares.stable, model, 0)

        self._commit(Step.PREPARE, decide)
        shares = self._folder.look().shares
        if shares.candidate and shares.candidate.version == version:
            self._wait("candidate")

    def promote(self, version: str) -> None:
        """Commit that everybody gets a version and nobody anything else; wait until it is so.

        Raises:
            ServingError: it isn't carried out.
            RolloutError: another canary is there, or people have changed the bot's folder.
        """
        model = self._model_of(version)

        def decide(current: Current) -> Shares | None:
            shares = self._intact(current).shares
            if shares.candidate and not self._is_ours(current):
                raise self._others(current)
            arms = (shares.stable, shares.candidate)
            arm = next((one for one in arms if one and one.version == version), None)
            if shares.stable and arm is None:
                raise self._folder.foreign(current, f"{version} is no arm in Git")
            if arm and not shares.candidate:
                return None
            return Shares(arm or model)

        self._commit(Step.PROMOTE, decide)
        self._wait("stable")
        self._state = None

    def rollback(self) -> None:
        """Commit that the candidate gets nothing; wait until it is so.

        What people have written in the bot's folder stays. If they took the canary away, nothing is
        left to do.

        Raises:
            ServingError: it isn't carried out.
            RolloutError: people have changed the bot's folder, and a canary is in it.
        """
        state, left_alone = self._state, False

        def decide(current: Current) -> Shares | None:
            nonlocal left_alone
            if current.found.edited:
                left_alone = True
                if self._folder.splits(current):
                    raise self._folder.foreign(current, current.found.edited)
                logger.warning("people have ended the canary by hand: %s", current.found.edited)
                return None
            if current.shares.candidate is None:
                left_alone = current.shares.stable is None
                return None
            if not self._is_ours(current):
                left_alone = True
                logger.warning("left alone: %s", self._others(current).message)
                return None
            return Shares(current.shares.stable, rolled_back=True)

        self._commit(Step.ROLL_BACK, decide)
        if self._proposals and state:
            self._proposals.withdraw(state, state.reason or "the rollout was taken back")
        if not left_alone:
            self._wait("stable")

    def _commit(self, step: Step, decide: Decide) -> None:
        """Change the folder, if there is anything to change."""
        self._arms.changed()
        rollout = self._state.id if self._state else ""
        self._folder.write(step, decide, rollout, self._state)

    def _intact(self, current: Current) -> Current:
        """Return the branch, unless people have changed the bot's folder."""
        if current.found.edited:
            raise self._folder.foreign(current, current.found.edited)
        if current.moved and current.shares.candidate and self._is_ours(current):
            raise self._folder.foreign(
                current, f"people have set the canary to {current.shares.percent} %"
            )
        return current

    def _is_ours(self, current: Current) -> bool:
        return current.found.rollout == (self._state.id if self._state else "")

    def _has(self, current: Current, version: str | None) -> bool:
        """Whether a version is the candidate of our rollout."""
        candidate = current.shares.candidate
        return candidate is not None and candidate.version == version and self._is_ours(current)

    def _others(self, current: Current) -> RolloutError:
        candidate = current.shares.candidate
        return RolloutError(
            f"another rollout ({current.found.rollout or 'unnamed'}) has a canary in Git: "
            f"{candidate.version if candidate else ''} with {current.shares.percent} %",
            "wait until it has ended, or take it back where it was started, or revert its commits",
        )

    def _wait(self, arm: str) -> None:
        """Wait until what Git says of an arm is seen to be so."""
        current = self._folder.look()

        def still_said() -> None:
            latest = self._intact(self._folder.look())
            if latest.shares != current.shares:
                raise self._folder.foreign(latest, "people have changed the rollout in Git")

        self._arms.wait(arm, current, still_said)


def _versions(shares: Shares) -> set[str]:
    return {model.version for model in (shares.stable, shares.candidate) if model}
