"""A cluster, a champion and live users for rollouts that can be killed at any effect."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from fake_kubernetes import SERVICES, FakeKubernetes

from recommender.config import Config, parse
from recommender.config.rollout import RolloutConfig
from recommender.errors import RegistryError
from serving.rollout.engine import Engine
from serving.rollout.kserve.client import Cluster, Resource
from serving.rollout.kserve.target import KServeTarget
from serving.rollout.records import Arm, Record
from serving.rollout.state import Rollouts, State

STABLE, CANDIDATE, OTHER = "m-000000000001", "m-000000000002", "m-000000000003"
NAME = "ostinato"
IMAGE = f"registry.example.com/ostinato-serve@sha256:{'a' * 64}"
SMALL = {"steps": (25, 100), "minimum_users_per_arm": 5}
GOOD, BAD = (0.2, 0.6), (0.5, 0.0)


class Killed(BaseException):
    """The process is gone: no handler of its own ever runs."""


class Places:
    """Where models are."""

    def uri(self, version: str) -> str:
        return f"s3://models/{version}"


@dataclass
class Process:
    """Counts effects; the one at `dies_at` is the last."""

    dies_at: int | None = None
    effects: int = 0

    def happens(self) -> None:
        self.effects += 1
        if self.dies_at is not None and self.effects > self.dies_at:
            raise Killed


class FragileCluster(Cluster):
    """Every change may be the last thing that happens, before it and after it."""

    process = Process()

    def _ask(
        self, method: str, resource: Resource, name: str = "", body: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        if method == "GET":
            return super()._ask(method, resource, name, body)
        self.process.happens()
        answer = super()._ask(method, resource, name, body)
        self.process.happens()
        return answer


class FragileRollouts(Rollouts):
    """States on a real disk; writing one may be the last thing that happens."""

    def __init__(self, folder: Path, process: Process) -> None:
        super().__init__(folder)
        self.process = process

    def save(self, state: State) -> None:
        self.process.happens()
        super().save(state)
        self.process.happens()


@dataclass
class Champions:
    """A registry's aliases; they outlive the process."""

    champion_alias: str = STABLE
    withdrawn: list[str] = field(default_factory=list)
    process: Process = field(default_factory=Process)

    def champion(self) -> str:
        return self.champion_alias

    def promote(
        self, version: str, *, run_id: str = "", reason: str = "", over: str | None = "any"
    ) -> None:
        self.process.happens()
        if over != "any" and self.champion_alias not in (over, version):
            raise RegistryError("another champion")
        self.champion_alias = version
        self.process.happens()

    def withdraw(self, version: str, *, run_id: str = "", reason: str = "") -> None:
        self.withdrawn.append(version)


@dataclass
class GatewayTraffic:
    """Users whose requests go where the Gateway sends them, each user to one arm."""

    world: KServeWorld
    hit_rates: tuple[float, float]
    users: int = 120
    fingerprint: str = "the same users"

    def observe(
        self,
        step: int,
        seen: Container[str],
        count: int,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[list[Record]]:
        fresh = (f"u{i}" for i in range(self.users) if f"u{i}" not in seen)
        chosen = islice(fresh, count)
        while portion := list(islice(chosen, 40)):
            with self.world.api.lock:
                shares = dict(self.world.api.controller.shares)
            yield [self._record(user, step, shares) for user in portion]

    def _record(self, user: str, step: int, shares: dict[str, int]) -> Record:
        candidate = _chance(user, "arm") < shares.get(CANDIDATE, 0) / 100
        assert shares.get(CANDIDATE if candidate else STABLE), f"{user} is served by nobody"
        return Record(
            user=user,
            step=step,
            arm=Arm.CANDIDATE if candidate else Arm.STABLE,
            version=CANDIDATE if candidate else STABLE,
            status=200,
            latency_ms=50 + 10 * _chance(user, "latency"),
            hit=_chance(user, "hit") < self.hit_rates[candidate],
        )


@dataclass
class KServeWorld:
    """What outlives the process: the cluster, the registry, the states on disk."""

    api: FakeKubernetes
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    champions: Champions = field(default_factory=Champions)
    process: Process = field(default_factory=Process)

    def config(self, **settings: Any) -> Config:
        """Return the configuration that leads to the cluster."""
        kserve = {
            "kubeconfig": self.api.kubeconfig(self.folder / "kubeconfig"),
            "image": IMAGE,
            "poll_s": 0.003,
            "timeout_s": 10.0,
            "settle_s": 0.0,
            "request_timeout_s": 5.0,
            "retry_s": 5.0,
            **self.settings,
            **settings,
        }
        return parse(
            {
                "name": "my-shop",
                "workspace": str(self.folder / "workspace"),
                "source": {"kind": "synthetic"},
                "actions": {"types": ["view"]},
                "rollout": {**SMALL, "target": "kserve", "targets": {"kserve": kserve}},
            },
            "test",
        )

    def target(self, owner: str = "us", **settings: Any) -> KServeTarget:
        """Return the target as a process that has just started has it."""
        config = self.config(**settings)
        cluster = FragileCluster.connect(config.rollout.targets.kserve)
        assert isinstance(cluster, FragileCluster)
        cluster.process = self.process
        return KServeTarget(config, Places(), cluster, owner, "my_shop")

    def serve(self, version: str = STABLE, **predictor: Any) -> None:
        """Let a version be served to everybody, as if it had been promoted long ago."""
        target = self.target(owner="somebody long ago")
        target.prepare(version)
        target.promote(version)
        if predictor:
            service = self.api.service(NAME)
            service["spec"]["predictor"].update(predictor)
            self.api.put(f"{SERVICES}/{NAME}", service)
        assert target.live() == version

    def start(self, hit_rates: tuple[float, float] = GOOD, dies_at: int | None = None) -> State:
        """Do what a release does: settle, serve the champion, roll out."""
        self.process = self.champions.process = Process(dies_at)
        rollout: RolloutConfig = self.config().rollout
        rollouts = FragileRollouts(self.folder / "rollouts", self.process)
        engine = Engine(self.target(), self.champions, rollouts, rollout, self.process.happens)
        settled = engine.settle()
        champion = self.champions.champion()
        engine.serve(champion)
        if settled and settled.candidate == CANDIDATE and (settled.lost or champion == CANDIDATE):
            return settled
        if champion == CANDIDATE:
            return rollouts.all()[-1]
        return engine.run(CANDIDATE, champion, GatewayTraffic(self, hit_rates))

    @property
    def spec(self) -> dict[str, Any]:
        """The spec of the InferenceService."""
        spec: dict[str, Any] = self.api.service(NAME)["spec"]
        return spec

    def shares(self) -> dict[str, int]:
        """Return who is served by what, without the arms that get nothing."""
        with self.api.lock:
            assert self.api.controller is not None
            return {v: p for v, p in self.api.controller.shares.items() if p}


def until(true: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Wait for the controller."""
    import time

    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.003)


def _chance(user: str, what: str) -> float:
    digest = hashlib.sha256(f"{user} {what}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
