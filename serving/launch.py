"""Starting what serves on this machine: model servers and the router."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from recommender.config import Config
from recommender.privacy import VARIABLE as PSEUDONYM_VARIABLE
from recommender.workspace import Workspace
from serving import processes, routes
from serving.freshness import limits_of, require_fresh
from serving.observing import Observing
from serving.ports import can_bind
from serving.processes import Command, Server

ROUTER = "router"
SERVER = "serving.server"
"""The module that serves a model."""

# Both write users down, and by another key than the pipeline's nobody could be found again: not in
# the joined log, not among the held-out users, not by whoever asks to be forgotten.
_SECRETS = (PSEUDONYM_VARIABLE,)

logger = logging.getLogger(__name__)


def routes_path(paths: Workspace) -> Path:
    """Return the file that the router reads."""
    return paths.serving / "routes.json"


def model_server(config: Config, folder: Path, version: str, project: str) -> Server:
    """Start a model server, or return the one that serves this version with these features.

    Args:
        config: of the data set.
        folder: of the version, as `Registry.fetch` returned it.
        version: of the model.
        project: Feast project that histories come from.

    Raises:
        ServingError: it did not become ready (the model is broken or tampered with, say); its
            last lines are quoted and nothing of it is left.
        FeatureError: the live features are older than `features.freshness` allows.
    """
    paths, serving = config.paths, config.serving
    name = f"{project}-{version}"
    ready = f"/v2/models/{serving.name}/ready"
    arguments = [
        *("--model", str(folder), "--version", version, "--name", serving.name),
        *("--workspace", str(paths.root), "--project", project),
        *("--read-deadline-s", str(serving.read_deadline_s)),
        *("--refresh-s", str(serving.refresh_s)),
    ]
    arguments += ["--observing", Observing.of(config).model_dump_json()]
    arguments += ["--compute", serving.compute.model_dump_json()]
    limits = limits_of(config, project)
    if limits.limited:
        arguments += ["--freshness", limits.model_dump_json()]
    command = Command(name, "model", SERVER, arguments, ready, version, project, _SECRETS)
    with _alone(paths):
        if server := _found(paths, command):
            return server
        # Before the start: a model is not to blame for features that are too old.
        require_fresh(paths, project, limits)
        return processes.start(paths, command, host=serving.host, timeout_s=serving.start_timeout_s)


def router(config: Config) -> Server:
    """Start the router, or return the one that runs.

    If somebody else (another data set's router, say) has the configured port, a free one is
    taken; the server's `url` says which.

    Raises:
        ServingError: it did not become ready.
    """
    paths, serving = config.paths, config.serving
    file, port = routes_path(paths), serving.port
    arguments = ["--routes", str(file), "--keys", str(paths.keys)]
    command = Command(ROUTER, "router", "serving.router", arguments, "/healthz", secrets=_SECRETS)
    with _alone(paths):
        if server := _found(paths, command):
            return server
        if not file.exists():
            routes.write(file, routes.Routes())
        if port and not can_bind(serving.host, port):
            logger.warning("port %s is taken by another program; choosing a free one", port)
            port = 0
        return processes.start(paths, command, host=serving.host, port=port, timeout_s=30)


def answers(url: str) -> bool:
    """Tell whether a URL answers 200 within a few seconds."""
    with suppress(httpx.TransportError):
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    return False


def _found(paths: Workspace, command: Command) -> Server | None:
    """Return the server of this name if it is ready; one that isn't is stopped.

    Whoever starts a server holds the lock until it is ready. So one that isn't was left by
    somebody who was killed while waiting, or it hangs.
    """
    for server in processes.running(paths):
        if server.name == command.name:
            if answers(server.url + command.ready):
                return server
            processes.stop(paths, server, grace_s=2)
    return None


@contextmanager
def _alone(paths: Workspace) -> Iterator[None]:
    """Let one start at a time go on in this workspace; the lock dies with its process."""
    paths.serving.mkdir(parents=True, exist_ok=True)
    with (paths.serving / "launch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
