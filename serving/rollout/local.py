"""The rollout target of one machine: KServe model servers and the router, on loopback.

Both arms are servers of the rehearsal's features (as of the cut) in the router's rehearsal lane.
What people are served from is a server on the live features in the lane `live`. It is replaced by
one atomic write of `routes.json`, after the new server has become ready on the live features.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from feature_repo.locations import project_name
from recommender.config import Config
from recommender.errors import ArtifactError, ServingError
from recommender.registry import Registry
from serving import launch, processes, routes
from serving.processes import Server
from serving.rollout.target import CandidateError
from serving.routes import LIVE, REHEARSAL, Arm

# The first requests of a server open its store and start its threads; nobody is timed by them.
_WARM_UP_ROUNDS = 5


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
        self._arms: dict[str, Server] = {}
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

    def live(self) -> str | None:
        """Return the version that everybody gets, or None if nobody gets any."""
        servers = {server.url: server for server in processes.running(self._config.paths)}
        arms = [arm for arm in routes.read(self._routes).live if arm.weight > 0]
        if not any(server.kind == "router" for server in servers.values()):
            return None
        return next((arm.version for arm in arms if arm.url in servers), None)

    def start_stable(self, version: str) -> None:
        """Make sure that the stable arm is served."""
        self._arms["stable"] = self._server(version, REHEARSAL)
        launch.router(self._config)

    def start_candidate(self, version: str) -> None:
        """Make sure that the candidate's arm is ready; it gets no traffic by that."""
        self._arms["candidate"] = self._candidate(version, REHEARSAL)

    def set_weight(self, percent: int) -> None:
        """Give the candidate's arm a share of the rehearsal lane, the stable arm the rest."""
        stable, candidate = self._arms["stable"], self._arms["candidate"]
        arms = (
            Arm(stable.url, stable.version, 100.0 - percent),
            Arm(candidate.url, candidate.version, float(percent)),
        )
        # A salt of this pair: other rollouts rehearse with other users, this one always with
        # the same, so that whoever looks into a verdict can make it again.
        salt = f"{stable.version} {candidate.version}"
        before = routes.read(self._routes)
        after = routes.Routes(live=before.live, rehearsal=arms, salt=salt)
        routes.write(self._routes, after)

    def check(self) -> None:
        """Look whether both arms still run."""
        # The stable one first: where both are gone, it wasn't the candidate.
        for name in ("stable", "candidate"):
            server = self._arms[name]
            if not server.alive:
                told = (
                    f"the {name} arm {server.version} has ended while it was being served:\n"
                    f"{processes.last_lines(Path(server.log))}"
                )
                raise CandidateError(told) if name == "candidate" else ServingError(told)

    def prepare(self, version: str) -> None:
        """Make a server of the version ready on the live features; nobody is served by it yet."""
        self._candidate(version, LIVE)

    def promote(self, version: str) -> None:
        """Switch the live lane to a prepared version, then end every other model server."""
        server = self._server(version, LIVE)
        launch.router(self._config)
        before = routes.read(self._routes)
        after = routes.Routes(live=(Arm(server.url, version),), salt=before.salt)
        routes.write(self._routes, after)
        self._end_others({server.url})

    def rollback(self) -> None:
        """Empty the rehearsal lane and end its servers; the live lane stays as it is."""
        before = routes.read(self._routes)
        if before.rehearsal:
            routes.write(self._routes, before.with_lane(REHEARSAL, ()))
        self._end_others({arm.url for arm in before.live})

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
        body = {"instances": [{"user_id": "nobody", "k": rollout.k}]}

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
