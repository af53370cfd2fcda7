"""A Git remote that people and the bot write to, and a rollout target on it.

Git is real: a bare repository on disk, and clones in which people work. `infra/gitops` is what
people commit first, so the example that we ship is what is tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from rollout_world import CANDIDATE, STABLE, MemoryChampions, Stage, World
from rollout_world import FragileRollouts as Rollouts

from serving.rollout.engine import Engine
from serving.rollout.gitops.arms import Patience
from serving.rollout.gitops.commits import Identity
from serving.rollout.gitops.folder import Folder
from serving.rollout.gitops.git import Git
from serving.rollout.gitops.observers import Unobserved
from serving.rollout.gitops.pull_requests import NoForge, Proposals
from serving.rollout.gitops.repository import Repository
from serving.rollout.gitops.shares import Model
from serving.rollout.gitops.target import GitOpsTarget
from serving.rollout.plan import Plan, Step
from serving.rollout.state import State

EXAMPLE = Path(__file__).parents[4] / "infra/gitops"
NAME = "recommender"
PATCH = "rollout/inference-service.yaml"
PEOPLE = {"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.com"}
PEOPLE |= {"GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "ann@example.com"}


def git(folder: Path, *arguments: str, **variables: str) -> str:
    """Run git as people do."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | PEOPLE | variables
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Remote:
    """A bare repository and a person's clone of it."""

    def __init__(self, folder: Path, mode: str = "Standard") -> None:
        self.path = folder / "remote.git"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        git(folder, "init", "--bare", "--quiet", "-b", "main", str(self.path))
        self.clone = folder / "ann"
        git(folder, "clone", "--quiet", str(self.path), str(self.clone))
        git(self.clone, "checkout", "--quiet", "-b", "main")
        shutil.copytree(EXAMPLE, self.clone, dirs_exist_ok=True)
        base = self.clone / "base/inference-service.yaml"
        base.write_text(
            base.read_text().replace("deploymentMode: Standard", f"deploymentMode: {mode}")
        )
        runtimes = "---\n".join(
            f"apiVersion: serving.kserve.io/v1alpha1\nkind: ServingRuntime\n"
            f"metadata: {{name: {NAME}-{version}}}\nspec: {{containers: [{{name: c, image: i}}]}}\n"
            for version in (STABLE, CANDIDATE, "m-00000000000f")
        )
        (self.clone / "base/runtimes.yaml").write_text(runtimes)
        kustomization = self.clone / "base/kustomization.yaml"
        kustomization.write_text(kustomization.read_text() + "- runtimes.yaml\n")
        self.commit("The layout")

    def commit(self, subject: str = "A change of people's") -> str:
        """Commit what is in the clone and push it."""
        git(self.clone, "add", "-A")
        git(self.clone, "commit", "--quiet", "-m", subject)
        git(self.clone, "push", "--quiet", "origin", "HEAD:main")
        return git(self.clone, "rev-parse", "HEAD")

    def edit(self, path: str, old: str, new: str, subject: str = "A change of people's") -> str:
        """Replace a text in a file on the branch, as a person does."""
        self.pull()
        text = (self.clone / path).read_text()
        assert old in text
        (self.clone / path).write_text(text.replace(old, new))
        return self.commit(subject)

    def pull(self) -> None:
        git(self.clone, "pull", "--quiet", "--rebase", "origin", "main")

    def show(self, path: str, branch: str = "main") -> str:
        return git(self.path, "show", f"{branch}:{path}")

    def subjects(self, author: str = "ostinato", branch: str = "main") -> list[str]:
        """Return the subjects of somebody's commits, the oldest first."""
        lines = git(self.path, "log", "--reverse", "--format=%an%x09%s", branch).splitlines()
        return [line.split("\t", 1)[1] for line in lines if line.split("\t")[0] == author]

    def message(self, branch: str = "main") -> str:
        return git(self.path, "log", "-1", "--format=%B", branch)

    def hook(self, name: str, script: str) -> None:
        path = self.path / "hooks" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


class FakeTime:
    """Time that passes while somebody waits, and then things may happen."""

    def __init__(self) -> None:
        self.now, self.during, self.pauses = 0.0, lambda: None, 0

    def pause(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)
        self.pauses += 1
        self.during()

    def clock(self) -> float:
        return self.now


class FragileRepository(Repository):
    """A push may be the last thing that happens, before it arrives or after."""

    world: World | None = None
    pushes: list[int] | None = None

    def _push(self, refspec: str) -> None:
        if self.pushes is not None and self.world:
            self.pushes.append(self.world.effects)
        if self.world:
            self.world.happens()
        super()._push(refspec)
        if self.world:
            self.world.happens()


@dataclass
class Watched(Unobserved):
    """Takes every commit for carried out, and tells the world's users what they get."""

    world: World

    def candidate(self, shares, mode):
        self.world.percent = shares.percent
        return super().candidate(shares, mode)


def model(version: str) -> Model:
    return Model(version, f"s3://models/{version}", f"{NAME}-{version}")


def target(
    remote: Remote | str,
    work: Path,
    observer=None,
    proposals=None,
    world=None,
    time=None,
    runtime=None,
    attempts=10,
    pushes=None,
    **git_options,
) -> GitOpsTarget:
    """Return a target; `proposals` is a forge where rollouts begin by pull request."""
    time = time or FakeTime()
    url = remote if isinstance(remote, str) else str(remote.path)
    repository = FragileRepository(
        Git(url, **git_options),
        "main",
        work,
        Identity("ostinato", "bot@example.com"),
        "rollout",
        attempts,
        time.pause,
    )
    repository.world, repository.pushes = world, pushes
    folder = Folder(repository, ".", "rollout", NAME, 1, runtime)
    if proposals is True:
        proposals = NoForge()
    return GitOpsTarget(
        folder,
        model,
        observer or Unobserved(),
        Patience(timeout_s=20.0, poll_s=1.0, unready_s=10.0),
        proposals and Proposals(folder, proposals, 5.0, 1.0, time.pause, time.clock),
        time.pause,
        time.clock,
    )


def state(candidate: str = CANDIDATE, stable: str = STABLE, name: str = "r1") -> State:
    plan = Plan((Step(25, 50, 50), Step(100, 5, 5)), (), 100)
    return State(name, candidate, stable, "f", plan)


@dataclass
class GitStage(Stage):
    """The engine of `rollout_world`, with Git as its target."""

    remote: Remote | None = None
    proposals: object = None
    time: FakeTime = field(default_factory=FakeTime)
    pushes: list[int] = field(default_factory=list)

    def engine(self) -> Engine:
        assert self.remote is not None
        served = target(
            self.remote,
            self.folder.parent / "gitops.git",
            Watched(self.world),
            self.proposals,
            self.world,
            self.time,
            pushes=self.pushes,
        )
        return Engine(
            served,
            MemoryChampions(self.world),
            Rollouts(self.folder, self.world),
            self.config,
            lambda: None,
        )
