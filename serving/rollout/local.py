"""The rollout target of one machine: KServe model servers and the router, on loopback.

With replayed traffic, both arms are servers of the rehearsal's features (as of the cut) in the
router's rehearsal lane. With live traffic, both read the live features and share the lane `live`,
in which the stable arm is the first. Either way, what everybody is served from is replaced by one
atomic write of `routes.json`, after the new server has become ready on the live features.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import psutil

from feature_repo.locations import project_name
from recommender.config import Config
from recommender.errors import ArtifactError, ServingError
from recommender.registry import Registry
from serving import launch, observed, processes, routes
from serving.observed import Reader
from serving.processes import Server
from serving.rollout.records import Arm
from serving.rollout.shadow import Comparison
from serving.rollout.target import CandidateError
from serving.routes import LIVE, REHEARSAL

# The first requests of a server open its store and start its threads; nobody is timed by them.
_WARM_UP_ROUNDS = 5
logger = logging.getLogger(__name__)


class LocalTarget:
    """Serves models as processes of this machine.

    Args:
        config: of the data set.
        registry: that versions are fetched from, verified.
        live: Feast project that people are served from.
        rehearsal: Feast project with the features as of the cut.
    """

    def __init__(self, config: Config, registry: Registry, live: str, rehearsal: str) -> None:
        self._config = config
        self._registry = registry
        self._projects = {LIVE: live, REHEARSAL: rehearsal}
        self._routes = launch.routes_path(config.paths)
        self._lane = LIVE if config.rollout.traffic == "live" else REHEARSAL
        self._percent: int | None = None
        self._compared = Reader(observed.folder_of(self._routes) / "shadow")
        self._arms: dict[Arm, Server] = {}
        self._warm: dict[tuple[str, str], Server] = {}

    @classmethod
    def of(cls, config: Config, registry: Registry) -> LocalTarget:
        """Return the target of a data set; see `serving.rollout.targets`."""
        return cls(
            config, registry, project_name(config, "live"), project_name(config, "rehearsal")
        )

    @property
    def url(self) -> str:
        """Base URL of the endpoint; the router is started unless it runs."""
        return launch.router(self._config).url

    @property
    def observed(self) -> Path:
        """Folder of what the router sees of live requests while they are split."""
        return observed.folder_of(self._routes) / "live"

    def live(self) -> str | None:
        """Return the version that everybody gets, or None if nobody gets any."""
        servers = {server.url: server for server in processes.running(self._config.paths)}
        arms = routes.read(self._routes).live
        if not arms or not any(server.kind == "router" for server in servers.values()):
            return None
        return arms[0].version if arms[0].url in servers else None

    def start_stable(self, version: str) -> None:
        """Make sure that the stable arm is served."""
        self._arms[Arm.STABLE] = self._server(version, self._lane)
        launch.router(self._config)

    def start_candidate(self, version: str) -> None:
        """Make sure that the candidate's arm is ready; it gets no traffic by that."""
        self._arms[Arm.CANDIDATE] = self._candidate(version, self._lane)

    def set_weight(self, percent: int) -> None:
        """Give the candidate's arm a share of the rollout's lane, the stable arm the rest."""
        stable, candidate = self._arms[Arm.STABLE], self._arms[Arm.CANDIDATE]
        arms = (
            routes.Arm(stable.url, stable.version, 100.0 - percent),
            routes.Arm(candidate.url, candidate.version, float(percent)),
        )
        # A salt of this pair: other rollouts are tried on other users, this one always on the
        # same, so that whoever looks into a verdict can make it again.
        salt = f"{stable.version} {candidate.version}"
        before = routes.read(self._routes)
        if self._lane == LIVE:
            after = routes.Routes(live=arms, salt=salt)
        else:
            after = routes.Routes(live=before.live, rehearsal=arms, salt=salt)
        routes.write(self._routes, after)
        self._percent = percent

    def check(self) -> None:
        """Look whether the arms still run; a stable arm that people are served from is restarted.

        Until it is back, the router lets the candidate's arm stand in for it.
        """
        # The stable one first: where both are gone, it wasn't the candidate.
        for name in Arm:
            server = self._arms.get(name)
            if server is None or server.alive:
                continue
            told = (
                f"the {name.value} arm {server.version} has ended while it was being served:\n"
                f"{processes.last_lines(Path(server.log))}"
            )
            if name is Arm.CANDIDATE:
                raise CandidateError(told)
            if self._lane != LIVE or self._percent is None:
                raise ServingError(told)
            logger.warning("%s", told)
            self.start_stable(server.version)
            self.set_weight(self._percent)

    def memory(self) -> dict[Arm, int]:
        """Return the resident bytes of each arm's process."""
        found = {}
        for name, server in self._arms.items():
            with suppress(psutil.Error):
                found[name] = int(psutil.Process(server.pid).memory_info().rss)
        return found

    def shadow(self, version: str, percent: float) -> None:
        """Copy a share of the live users' requests to a server of the version; 0 ends it."""
        before = routes.read(self._routes)
        if not percent:
            routes.write(self._routes, replace(before, shadow=None))
            return
        launch.router(self._config)
        stable = self._stable_server(before)
        server = self._candidate(version, LIVE)
        self._arms = {Arm.CANDIDATE: server} | ({Arm.STABLE: stable} if stable else {})
        self._compared.clear()
        queue = self._config.rollout.shadow.queue
        shadow = routes.Shadow(server.url, version, percent, queue)
        routes.write(self._routes, replace(routes.read(self._routes), shadow=shadow))

    def compared(self) -> Sequence[Comparison]:
        """Return what the router has compared since the last call."""
        return [Comparison(**row) for row in self._compared.take()]

    def prepare(self, version: str) -> None:
        """Make a server of the version ready on the live features; nobody is served by it yet."""
        self._candidate(version, LIVE)

    def promote(self, version: str) -> None:
        """Switch the live lane to a prepared version, then end every other model server."""
        server = self._server(version, LIVE)
        launch.router(self._config)
        before = routes.read(self._routes)
        after = routes.Routes(live=(routes.Arm(server.url, version),), salt=before.salt)
        routes.write(self._routes, after)
        self._end_others({server.url})

    def rollback(self) -> None:
        """Give the live lane to its stable arm, empty the rehearsal lane, end what isn't needed.

        Raises:
            ServingError: the live lane was split and its stable arm can't be started again; the
                candidate's goes on serving, because somebody must.
        """
        before = routes.read(self._routes)
        live = before.live[:1]
        if len(before.live) > 1:
            stable = self._server(before.live[0].version, LIVE)
            launch.router(self._config)
            live = (routes.Arm(stable.url, stable.version),)
        after = routes.Routes(live=live, salt=before.salt)
        if after != before:
            routes.write(self._routes, after)
        self._end_others({arm.url for arm in live})

    def _stable_server(self, now: routes.Routes) -> Server | None:
        """Return the process behind the live lane's stable arm."""
        urls = {arm.url for arm in now.live[:1]}
        servers = processes.running(self._config.paths)
        return next((server for server in servers if server.url in urls), None)

    def _candidate(self, version: str, lane: str) -> Server:
        try:
            return self._server(version, lane)
        except (ServingError, ArtifactError) as error:
            raise CandidateError(f"{version} can't be served: {error}") from error

    def _server(self, version: str, lane: str) -> Server:
        """Return a server that is ready and warm; it is started unless it runs."""
        known = self._warm.get((version, lane))
        if known and known.alive:
            return known
        folder = self._registry.fetch(version)
        server = launch.model_server(self._config, folder, version, self._projects[lane])
        self._warm_up(server)
        self._warm[version, lane] = server
        return server

    def _warm_up(self, server: Server) -> None:
        """Ask a few times, past the router.

        Raises:
            ServingError: a request fails.
        """
        rollout = self._config.rollout
        url = f"{server.url}/v1/models/{self._config.serving.name}:predict"
        body = {"instances": [{"user_id": "nobody", "k": rollout.k, "record": False}]}

        def ask(_: int) -> httpx.Response:
            return client.post(url, json=body)

        try:
            with (
                httpx.Client(timeout=rollout.request_timeout_s, trust_env=False) as client,
                ThreadPoolExecutor(rollout.concurrency) as pool,
            ):
                answers = list(pool.map(ask, range(_WARM_UP_ROUNDS * rollout.concurrency)))
        except httpx.TransportError as error:
            raise ServingError(
                f"{server.version} is ready, but does not answer: {error or type(error).__name__}\n"
                f"{processes.last_lines(Path(server.log))}"
            ) from error
        for answer in answers:
            if answer.status_code != 200:
                raise ServingError(
                    f"{server.version} is ready, but answers {answer.status_code}: "
                    f"{answer.text[:300]}"
                )

    def _end_others(self, keep: set[str]) -> None:
        for server in processes.running(self._config.paths):
            if server.kind == "model" and server.url not in keep:
                processes.stop(self._config.paths, server)
        self._arms.clear()
        self._percent = None
