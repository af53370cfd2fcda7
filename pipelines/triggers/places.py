"""Where triggered runs go: this machine, or a pipelines backend. Both may be asked twice."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from pipelines.run import alone
from pipelines.triggers.answer import MAY_REFUSE, REFRESH
from pipelines.triggers.book import UNREFRESHED, TriggeredRun
from pipelines.triggers.cause import Kind
from recommender.config import Config
from recommender.errors import ConfigError, UserError
from recommender.files import read_json, write_json

CRASHED = "CRASHED"
"""A run that ended without saying how; it may be started again."""

_COMMAND = "pipelines.cli"


class BusyError(UserError):
    """Another run is at work where this one would be."""

    passing = True


class Place(Protocol):
    """Where runs go. What it is asked for twice happens once."""

    def start(self, run: TriggeredRun) -> str:
        """Start a run, unless it was started before; return what this place calls it.

        Raises:
            UserError: it can't be started now; asking again later makes sense if `passing`.
        """
        ...

    def outcome(self, run: TriggeredRun) -> tuple[str, str] | None:
        """Return how a started run ended (a state, and words), or None while it goes on.

        `CRASHED` and `UNREFRESHED` are states that something follows on.

        Raises:
            UserError: that can't be found out now.
        """
        ...


class Here:
    """Runs as processes of this machine that outlive whoever started them.

    Args:
        config: of the data set.
    """

    def __init__(self, config: Config) -> None:
        self._config = config

    def start(self, run: TriggeredRun) -> str:
        """Start `ostinato run` or `refresh`, unless this run has a process or has ended.

        Raises:
            BusyError: another run is at work in the workspace.
        """
        folder = self._config.paths.run(run.id)
        if (folder / "outcome.json").exists() or self._alive(run.handle):
            return run.handle
        if begun := _process_of(run.id):  # by somebody who was killed before writing it down
            return begun
        try:
            with alone(self._config.paths.root):
                pass
        except ConfigError as error:
            raise BusyError(error.message, "it is started when that has ended") from error
        folder.mkdir(parents=True, exist_ok=True)
        tree = folder / "triggered.yaml"
        write_json(tree, self._config.model_dump(mode="json"))  # JSON is YAML
        command = "refresh" if run.pipeline == REFRESH else "run"
        words = ["-m", _COMMAND, command, "--config", str(tree), "--run-id", run.id]
        with (folder / "triggered.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 our own command
                [sys.executable, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=Path(__file__).parents[2],
            )
        return str(process.pid)

    def outcome(self, run: TriggeredRun) -> tuple[str, str] | None:
        """Read the run's own record; a process that is gone without one has crashed."""
        if self._alive(run.handle):
            return None
        folder = self._config.paths.run(run.id)
        if (folder / "outcome.json").exists():
            told = read_json(folder / "outcome.json")
            state, why = str(told["state"]), str(told["error"] or "")
            refused = state == "FAILED" and told["failed_step"] in MAY_REFUSE
            return (UNREFRESHED if refused else state), why
        return CRASHED, f"its process ended without a record; see {folder / 'triggered.log'}"

    def stop(self, run: TriggeredRun) -> None:
        """Interrupt a run, as Ctrl-C does."""
        if self._alive(run.handle):
            os.kill(int(run.handle), signal.SIGINT)

    @staticmethod
    def _alive(handle: str) -> bool:
        import psutil

        if not handle.isdecimal() or not psutil.pid_exists(int(handle)):
            return False
        try:
            process = psutil.Process(int(handle))
            # A number is given to another process some day.
            return _COMMAND in process.cmdline() and process.status() != "zombie"
        except psutil.Error:
            return False


def _process_of(run_id: str) -> str:
    """Return the number of the process that is at a run on this machine, or ""."""
    import psutil

    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if _COMMAND in words and run_id in words and process.info["status"] != "zombie":
            return str(process.pid)
    return ""


class There:
    """Runs on the Kubeflow Pipelines backend.

    Args:
        config: of the data set.
    """

    def __init__(self, config: Config) -> None:
        self._config = config

    def start(self, run: TriggeredRun) -> str:
        """Submit it; causes that were submitted before have a run already."""
        from pipelines.backend.connection import connect
        from pipelines.backend.identity import source_version
        from pipelines.backend.submit import submit
        from pipelines.compile import FOLDER, for_pipeline

        data = source_version(self._config)
        if any(cause.kind is not Kind.LANDED for cause in run.causes):
            # Data that are the same are no reason against it: that is what the causes say.
            told = "\0".join(sorted(cause.id for cause in run.causes))
            data = f"{data}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
        tree = for_pipeline(run.pipeline, self._config)
        package = FOLDER / f"{run.pipeline}.yaml"
        return submit(connect(tree), tree, data=data, package=package).run_id

    def outcome(self, run: TriggeredRun) -> tuple[str, str] | None:
        """Ask the backend."""
        from pipelines.backend.calls import NotFoundError
        from pipelines.backend.connection import connect
        from pipelines.backend.follow import look

        backend = connect(self._config)  # a door that knows no backend has deleted nothing
        try:
            seen = look(backend, run.handle)
        except NotFoundError:
            return "DELETED", "somebody deleted it on the backend"
        if not seen.ended:
            return None
        failed = {step for step, state in seen.steps.items() if state == "FAILED"}
        refused = seen.state == "FAILED" and failed & MAY_REFUSE
        why = "; ".join(f"{step}: {why}" for step, why in seen.errors.items())
        return (UNREFRESHED if refused else seen.state), why


def place_of(config: Config) -> Place:
    """Return where the configuration says that runs go."""
    return There(config) if config.triggers.launch == "backend" else Here(config)
