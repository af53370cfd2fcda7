"""The bot's folder on a branch: read with what people own beside it, changed by one commit a step.

Every change is decided on the branch's newest commit, again and again until one is taken: people's
commits in between are built upon, and a change of theirs in the bot's own folder is never written
over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from recommender.errors import RolloutError
from serving.rollout.gitops import layout
from serving.rollout.gitops.commits import Change
from serving.rollout.gitops.messages import Step, message
from serving.rollout.gitops.people import People, documents, people
from serving.rollout.gitops.repository import PENDING, PUSHED, Repository
from serving.rollout.gitops.shares import Found, Model, Shares
from serving.rollout.state import State

logger = logging.getLogger(__name__)


class ForeignChangeError(RolloutError):
    """People have changed what the bot owns; it is left as they want it."""


@dataclass(frozen=True)
class Current:
    """The branch at one commit.

    Attributes:
        commit: its hash.
        people: what people own.
        found: what the bot's folder says.
        files: contents of the bot's folder by name.
        moved: whether the folder is as some other commit of the bot left it, and not the last one.
    """

    commit: str
    people: People
    found: Found
    files: Mapping[str, str | None]
    moved: bool

    @property
    def shares(self) -> Shares:
        """Who is served."""
        return self.found.shares


Decide = Callable[[Current], Shares | None]
"""Says who is to be served, or None if that is so already."""


class Folder:
    """The bot's folder on a branch.

    Args:
        repository: that it is in.
        path: of people's kustomization.
        component: name of the bot's folder in it.
        name: of the InferenceService.
        least: replicas that a canary always has.
        runtime: makes the ServingRuntime of a version; None where people commit them.
    """

    def __init__(
        self,
        repository: Repository,
        path: str,
        component: str,
        name: str,
        least: int,
        runtime: Callable[[Model], dict[str, Any]] | None,
    ) -> None:
        self.repository = repository
        self._path = path
        self._component = component
        self._place = (PurePosixPath(path) / component).as_posix()
        self._name = name
        self._least = least
        self._runtime = runtime

    def look(self) -> Current:
        """Fetch the branch and read it.

        Raises:
            GitError: the branch can't be read, or isn't there.
            LayoutError: it is not laid out as a rollout needs it.
        """
        commit = self.repository.head()
        if commit is None:
            raise RolloutError(
                f"{self.repository.url} has no branch {self.repository.branch}",
                "push people's part of the layout first; infra/gitops has an example",
            )
        return self.read(commit)

    def read(self, commit: str) -> Current:
        """Read a commit."""

        def read(path: str) -> str | None:
            return self.repository.text(commit, path)

        theirs = people(read, self._path, self._component, self._name)
        files = {name: read(f"{self._place}/{name}") for name in layout.FILES}
        found = layout.parse(files, self._place)
        tree = self.repository.tree(commit, self._place)
        known = [self.repository.known(reference) for reference in (PUSHED, PENDING)]
        trees = {self.repository.tree(one, self._place) for one in known if one}
        return Current(commit, theirs, found, files, moved=bool(trees) and tree not in trees)

    def write(
        self, step: Step, decide: Decide, rollout: str, state: State | None, branch: str = ""
    ) -> str | None:
        """Change the folder by one commit.

        Args:
            step: what the commit is for.
            decide: says who is to be served.
            rollout: id of the rollout, or "".
            state: of the rollout, for the message.
            branch: that gets the commit; "" for the repository's own.

        Returns:
            the commit, or None where there was nothing to change.
        """

        def change(commit: str) -> Change | None:
            current = self.read(commit)
            wanted = decide(current)
            if wanted is None:
                return None
            files = self.rendered(current, wanted, rollout)
            changed = {
                f"{self._place}/{name}": content
                for name, content in files.items()
                if content != current.files.get(name)
            }
            return Change(changed, message(step, current.shares, wanted, state))

        commit = self.repository.update(change, branch)
        if commit:
            told = self.repository.describe(commit)
            logger.info("%s of %s: %s", branch or self.repository.branch, self.repository.url, told)
        return commit

    def rendered(self, current: Current, shares: Shares, rollout: str) -> dict[str, str | None]:
        """Return the files of the folder for some shares.

        A version's runtime stays as it was first written: what it runs must not change.
        """
        runtimes: dict[str, Mapping[str, Any]] = {
            document["metadata"]["name"]: document
            for document in documents(current.files.get(layout.RUNTIMES) or "", layout.RUNTIMES)
            if isinstance(document, dict)
        }
        for model in (shares.stable, shares.candidate):
            if model and self._runtime and model.runtime not in runtimes:
                runtimes[model.runtime] = self._runtime(model)
        return layout.render(shares, rollout, current.people, self._least, runtimes)

    def adoptable(self, current: Current) -> bool:
        """Say whether an edited folder serves just the stable arm, and adds nothing of its own.

        Then people have ended a rollout by hand, and the next one can begin from there.
        """
        only = Shares(current.shares.stable)
        patches = [
            layout.patch_of(Shares(only.stable, rolled_back=back), current.people, self._least)
            for back in (False, True)
        ]
        return any(layout.same_patch(current.files[layout.PATCH], patch) for patch in patches)

    def splits(self, current: Current) -> bool:
        """Say whether the patch, as it stands, gives a share to anybody besides the stable arm."""
        return layout.splits(current.files[layout.PATCH], f"{self._place}/{layout.PATCH}")

    def serves(self, current: Current) -> Model | None:
        """Return the model that the patch gives to the predictor, where people have edited it."""
        told = layout.storage_uri(current.files[layout.PATCH], f"{self._place}/{layout.PATCH}")
        known = (current.shares.stable, current.shares.candidate)
        return next((model for model in known if model and model.storage_uri == told), None)

    def foreign(self, current: Current, told: str) -> ForeignChangeError:
        """Return the error for a change of people's in the bot's folder."""
        last = self.repository.describe(current.commit)
        pushed = self.repository.known(PUSHED)
        ours = f"git checkout {pushed[:12]} -- {self._place}" if pushed else "git revert"
        return ForeignChangeError(
            f"{told}; newest commit on {self.repository.branch}: {last}",
            f"what people own is beside {self._place}/; restore that folder ({ours}) or take the "
            "canary out of it, commit, and run again",
        )
