"""Servers as detached processes of this machine: started, found again, stopped.

Each leaves a record in `<workspace>/serving/processes/<name>.json` and a log beside it. They
outlive whoever started them (a pipeline step is a process of its own), so they are found again
by their record; and because a process id may since belong to somebody else, a process counts as
ours only if it carries the record's token in its environment.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from recommender.errors import ServingError, StorageError
from recommender.files import read_json, write_json
from recommender.privacy import VARIABLE as PSEUDONYM_VARIABLE
from recommender.progress import VARIABLE as PROGRESS_VARIABLE
from recommender.registry.signing import PRIVATE_VARIABLE as SIGNING_VARIABLE
from recommender.workspace import Workspace
from serving.ports import free_port, listens

TOKEN_VARIABLE = "OSTINATO_PROCESS"  # noqa: S105 the name, not the token
# What a server doesn't get unless it asks for it: secrets of the pipeline, and the progress of
# whoever started it.
_WITHHELD = (SIGNING_VARIABLE, PSEUDONYM_VARIABLE, PROGRESS_VARIABLE)
_GRACE_S = 25.0
_UNREADY_GRACE_S = 2.0
_PORT_TRIES = 3
_PORT_TAKEN = ("address already in use", "errno 98", "errno 48")

# Children must be waited for, or they stay as zombies for as long as this process lives.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Server:
    """A server process.

    Attributes:
        name: of the record; one server per name.
        kind: `router` or `model`.
        pid: process id.
        token: what tells this process from another one with the same id.
        url: base URL.
        log: file of its output.
        version: model version it serves, "" for a router.
        project: Feast project that it reads, "" for a router.
    """

    name: str
    kind: str
    pid: int
    token: str
    url: str
    log: str
    version: str = ""
    project: str = ""

    @property
    def alive(self) -> bool:
        """Whether the process runs; false for another process that has got its id."""
        return _find(self) is not None


@dataclass(frozen=True)
class Command:
    """What to start.

    Attributes:
        name: of the record.
        kind: `router` or `model`.
        module: that `python -m` runs; `--host` and `--port` are added.
        arguments: of the module.
        ready: path that answers 200 once the server is ready.
        version: model version it serves.
        project: Feast project that it reads.
        secrets: environment variables with secrets that it needs; it gets no others.
    """

    name: str
    kind: str
    module: str
    arguments: Sequence[str]
    ready: str
    version: str = ""
    project: str = ""
    secrets: Collection[str] = ()


def start(
    paths: Workspace, command: Command, *, host: str, port: int = 0, timeout_s: float = 90.0
) -> Server:
    """Start a server and wait until it is ready.

    Args:
        paths: of the data set.
        command: what to start.
        host: address to listen on.
        port: to listen on; 0 picks a free one.
        timeout_s: longest wait.

    Raises:
        ServingError: a server of this name runs already; or it ended or was not ready in time
            (its last lines are quoted), in which case nothing of it is left.
    """
    for other in running(paths):
        if other.name == command.name:
            raise ServingError(f"{command.name} runs already (process {other.pid}, {other.url})")
    tries = 1 if port else _PORT_TRIES
    for attempt in range(tries):
        server = _launch(paths, command, host, port or free_port(host))
        try:
            _wait_until_ready(server, command, timeout_s)
        except ServingError as error:
            stop(paths, server, _UNREADY_GRACE_S)
            # Between picking a free port and binding it, somebody else may take it.
            taken = any(words in str(error).lower() for words in _PORT_TAKEN)
            if not taken or attempt == tries - 1:
                raise
        except BaseException:
            stop(paths, server, _UNREADY_GRACE_S)
            raise
        else:
            return server
    raise ServingError(f"no port could be bound for {command.name}")


def running(paths: Workspace) -> tuple[Server, ...]:
    """Return the servers of a workspace that run, by name; records of dead ones are removed."""
    found = []
    for record in sorted(_records(paths).glob("*.json")):
        try:
            server = Server(**read_json(record))
        except (StorageError, TypeError):
            record.unlink(missing_ok=True)
            continue
        if server.alive:
            found.append(server)
        else:
            record.unlink(missing_ok=True)
    return tuple(found)


def stop(paths: Workspace, server: Server, grace_s: float = _GRACE_S) -> None:
    """Stop a server: SIGTERM, so that requests under way are answered; after the grace, SIGKILL.

    Another process that has got the server's id is left alone.
    """
    process = _find(server)
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(grace_s)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(grace_s)
    _reap(server.pid)
    record = _records(paths) / f"{server.name}.json"
    with suppress(StorageError, TypeError):
        if record.exists() and Server(**read_json(record)).token == server.token:
            record.unlink(missing_ok=True)


def stop_all(paths: Workspace) -> tuple[Server, ...]:
    """Stop every server of a workspace, the router first, and return them."""
    servers = sorted(running(paths), key=lambda server: server.kind != "router")
    for server in servers:
        stop(paths, server)
    return tuple(servers)


def last_lines(log: Path, count: int = 12) -> str:
    """Return the end of a log, as much as helps to see what went wrong."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(no output)"
    return "\n".join(text.strip().splitlines()[-count:]) or "(no output)"


def _launch(paths: Workspace, command: Command, host: str, port: int) -> Server:
    folder = _records(paths)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{command.name}.log"
    token = secrets.token_hex(16)
    withheld = set(_WITHHELD).difference(command.secrets)
    environment = {key: value for key, value in os.environ.items() if key not in withheld}
    line = [sys.executable, "-m", command.module, *command.arguments]
    # The log is truncated: it tells of this process, and would grow for ever.
    with log.open("wb") as output:
        # Our own program with arguments of ours; no shell reads them.
        child = subprocess.Popen(  # noqa: S603
            [*line, "--host", host, "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**environment, TOKEN_VARIABLE: token},
            start_new_session=True,
        )
    _children[child.pid] = child
    server = Server(
        command.name,
        command.kind,
        child.pid,
        token,
        f"http://{host}:{port}",
        str(log),
        command.version,
        command.project,
    )
    write_json(folder / f"{command.name}.json", asdict(server))
    return server


def _wait_until_ready(server: Server, command: Command, timeout_s: float) -> None:
    child = _children[server.pid]
    end = time.monotonic() + timeout_s
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while True:
            if (code := child.poll()) is not None:
                raise ServingError(
                    f"{server.name} ended with exit code {code} before it was ready:\n"
                    f"{last_lines(Path(server.log))}"
                )
            with suppress(httpx.TransportError):
                answer = client.get(server.url + command.ready)
                # Somebody else's server may have taken the port and say that it is ready.
                if answer.status_code == 200 and listens(server.pid, server.url):
                    return
            if time.monotonic() > end:
                raise ServingError(
                    f"{server.name} was not ready after {timeout_s:g} s; its last lines:\n"
                    f"{last_lines(Path(server.log))}",
                    "give it more time with serving.start_timeout_s",
                )
            time.sleep(0.05)


def _find(server: Server) -> psutil.Process | None:
    """Return the process of a record, or None if it is gone or its id is another's by now."""
    _reap(server.pid)
    try:
        process = psutil.Process(server.pid)
        environment: dict[str, Any] = process.environ()
        if process.status() != psutil.STATUS_ZOMBIE and (
            environment.get(TOKEN_VARIABLE) == server.token
        ):
            return process
    except (psutil.Error, OSError):
        pass  # gone, or not ours to look into, hence not ours
    return None


def _reap(pid: int) -> None:
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]


def _records(paths: Workspace) -> Path:
    return paths.serving / "processes"
