"""A small world for the engine: a target in memory, users, a champion, and misfortunes.

`MemoryTarget` implements the same interface as the real targets, with the same promises. Every
effect goes through `World.happens`, where a test can let the process be killed (nothing more
happens until it is started again) or the disk be full.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from recommender.config.rollout import RolloutConfig
from recommender.errors import RegistryError, StorageError
from serving.rollout.engine import Engine
from serving.rollout.records import Arm, Record
from serving.rollout.state import Rollouts, State
from serving.rollout.target import CandidateError

STABLE, CANDIDATE = "m-000000000001", "m-000000000002"


class Killed(BaseException):
    """The process is gone: no handler of its own ever runs."""


@dataclass
class World:
    """What outlives the process.

    Attributes:
        broken: versions that never become ready.
        dies_at: percent at which the candidate's arm ends by itself.
    """

    live: str | None = STABLE
    champion: str = STABLE
    candidate_alias: str | None = CANDIDATE
    arms: set[str] = field(default_factory=set)
    prepared: set[str] = field(default_factory=set)
    percent: int = 0
    published: int = 0
    broken: frozenset[str] = frozenset()
    dies_at: int | None = None
    effects: int = 0
    misfortune: Callable[[int], None] | None = None
    seen_live: set[str | None] = field(default_factory=set)

    def happens(self) -> None:
        """Count one effect; called before it and after it, so that both may be the last."""
        self.seen_live.add(self.live)
        self.effects += 1
        if self.misfortune is not None:
            self.misfortune(self.effects - 1)

    def reboot(self) -> None:
        """All processes are gone; what is on disk stays."""
        self.arms.clear()
        self.prepared.clear()
        self.live = None


class MemoryTarget:
    """Serves models in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    def live(self) -> str | None:
        return self.world.live

    def start_stable(self, version: str) -> None:
        self.world.happens()
        self.world.arms.add(version)
        self.world.happens()

    def start_candidate(self, version: str) -> None:
        self.world.happens()
        if version in self.world.broken:
            raise CandidateError(f"{version} is broken")
        self.world.arms.add(version)
        self.world.happens()

    def set_weight(self, percent: int) -> None:
        assert {STABLE, CANDIDATE} <= self.world.arms, "both arms must be there"
        self.world.happens()
        self.world.percent = percent

    def check(self) -> None:
        if self.world.percent == self.world.dies_at:
            self.world.arms.discard(CANDIDATE)
            raise CandidateError("the candidate has ended")

    def prepare(self, version: str) -> None:
        self.world.happens()
        if version in self.world.broken:
            raise CandidateError(f"{version} is broken")
        self.world.prepared.add(version)
        self.world.happens()

    def promote(self, version: str) -> None:
        assert version in self.world.prepared | {self.world.live}, "nobody is served by nothing"
        self.world.happens()
        self.world.live = version
        self.world.happens()
        self.world.arms.clear()
        self.world.prepared.clear()

    def rollback(self) -> None:
        self.world.happens()
        self.world.arms.clear()
        self.world.prepared.clear()
        self.world.happens()


class MemoryChampions:
    """A registry's champion alias."""

    def __init__(self, world: World) -> None:
        self.world = world

    def champion(self) -> str | None:
        return self.world.champion

    def promote(self, version, *, run_id="", reason="", over="any") -> None:
        self.world.happens()
        if over != "any" and self.world.champion not in (over, version):
            raise RegistryError("another champion")
        self.world.champion = version
        if self.world.candidate_alias == version:
            self.world.candidate_alias = None
        self.world.happens()

    def withdraw(self, version, *, run_id="", reason="") -> None:
        self.world.happens()
        if self.world.candidate_alias == version:
            self.world.candidate_alias = None


class FragileRollouts(Rollouts):
    """States on a real disk; writing one may be the last thing that happens."""

    def __init__(self, folder: Path, world: World) -> None:
        super().__init__(folder)
        self.world = world

    def save(self, state: State) -> None:
        self.world.happens()
        super().save(state)
        self.world.happens()


@dataclass(frozen=True)
class MemoryTraffic:
    """Users whose hits follow from a hash: the same at every call."""

    world: World
    users: int = 1200
    hit_rates: tuple[float, float] = (0.3, 0.3)
    errors: tuple[float, float] = (0.0, 0.0)
    latencies: tuple[float, float] = (60.0, 60.0)
    fingerprint: str = "the same users"
    misrouted: float = 0.0

    def observe(
        self, step: int, seen: Container[str], count: int, stop: Callable[[], bool]
    ) -> Iterator[list[Record]]:
        fresh = (f"u{i}" for i in range(self.users) if f"u{i}" not in seen)
        chosen = islice(fresh, count)
        while not stop() and (portion := list(islice(chosen, 100))):
            self.world.happens()
            yield [self.record(user, step) for user in portion]

    def record(self, user: str, step: int) -> Record:
        is_candidate = _chance(user, "arm") < self.world.percent / 100
        if is_candidate and _chance(user, "lost") < self.misrouted:
            is_candidate = False
        failed = _chance(user, "error") < self.errors[is_candidate]
        return Record(
            user=user,
            step=step,
            arm=Arm.CANDIDATE if is_candidate else Arm.STABLE,
            version=CANDIDATE if is_candidate else STABLE,
            status=500 if failed else 200,
            latency_ms=self.latencies[is_candidate] * (0.8 + 0.4 * _chance(user, "latency")),
            hit=not failed and _chance(user, "hit") < self.hit_rates[is_candidate],
            error="HTTP 500: it broke" if failed else "",
        )


def _chance(user: str, what: str) -> float:
    digest = hashlib.sha256(f"{user} {what}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass
class Stage:
    """A world, a folder for its rollouts, and what the pipeline does with them."""

    world: World
    folder: Path
    config: RolloutConfig = field(default_factory=RolloutConfig)

    def engine(self) -> Engine:
        def publish() -> None:
            self.world.happens()
            self.world.published += 1

        return Engine(
            MemoryTarget(self.world),
            MemoryChampions(self.world),
            FragileRollouts(self.folder, self.world),
            self.config,
            publish,
        )

    def start(self, traffic: MemoryTraffic | None = None) -> State | None:
        """Do what `release` does: settle, serve the champion, roll out."""
        engine = self.engine()
        settled = engine.settle()
        champion = self.world.champion
        engine.serve(champion)
        if settled and settled.candidate == CANDIDATE and (settled.lost or champion == CANDIDATE):
            return settled
        if champion == CANDIDATE:
            return None
        return engine.run(CANDIDATE, champion, traffic or MemoryTraffic(self.world))

    @property
    def states(self) -> tuple[State, ...]:
        return Rollouts(self.folder).all()


def kill_at(n: int) -> Callable[[int], None]:
    """Kill the process at its n-th effect."""

    def misfortune(effect: int) -> None:
        if effect >= n:
            raise Killed

    return misfortune


def disk_full(first: int, last: int) -> Callable[[int], None]:
    """Let effects `first` … `last - 1` fail for want of space."""

    def misfortune(effect: int) -> None:
        if first <= effect < last:
            raise StorageError("the disk is full")

    return misfortune


def interrupt_at(n: int) -> Callable[[int], None]:
    """Press Ctrl-C at the n-th effect."""

    def misfortune(effect: int) -> None:
        if effect == n:
            raise KeyboardInterrupt

    return misfortune
