"""Runs a pipeline on this machine, through `kfp.local`: no cluster, no containers.

KFP starts every step as a process of its own. What the steps print goes to
`<run>/pipeline.log`; people see the progress (`pipelines/display.py`) and, at the end, a summary
of the step records (`pipelines/summary.py`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from pipelines.display import showing
from recommender import progress
from recommender.config import Config
from recommender.errors import ConfigError, UserError
from recommender.files import read_json, write_json

_STOP_S = 20.0
"""How long an interrupted step may take to put its things in order."""


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        run_id: names its folder.
        folder: reports, step records, `outcome.json`, `pipeline.log`.
        seconds: wall time of the whole run.
        steps: the record of each step that ran, by name (see `components.boundary`).
    """

    run_id: str
    folder: Path
    seconds: float
    steps: dict[str, Any]

    @property
    def failed(self) -> dict[str, Any] | None:
        """The record of the step that failed, if one did."""
        return next((r for r in self.steps.values() if r["status"] != "succeeded"), None)


class RunFailed(UserError):  # noqa: N818 - the outcome of a run, told to a person
    """A step of the run failed; the message is the step's own."""


def new_run_id() -> str:
    """Return a name for a new run that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"


def run_locally(
    config: Config, console: Console, run_id: str | None = None, pipeline: str = "training"
) -> Run:
    """Run a pipeline here and now.

    Args:
        config: the whole configuration.
        console: where progress is drawn.
        run_id: names the run; a new name by default.
        pipeline: one of `pipelines.compile.PIPELINES`.

    Raises:
        RunFailed: a step failed; nothing that was served, registered or accepted has changed.
        ConfigError: another run is at work in the same workspace.
        KeyboardInterrupt: the person pressed Ctrl-C; recorded as such.
    """
    run_id = run_id or new_run_id()
    folder = config.paths.run(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config.model_dump(mode="json"))
    started = time.monotonic()
    with alone(config.paths.root), showing(folder / "progress.jsonl", console):
        try:
            _execute(config, run_id, folder, pipeline)
            crash = None
        except KeyboardInterrupt:
            _stop_steps()
            _record_interruption(config, run_id)
            raise
        except RuntimeError as error:  # KFP's way of saying that a task failed
            crash = error
    seconds = time.monotonic() - started
    steps = {p.stem: read_json(p) for p in sorted((folder / "steps").glob("*.json"))}
    run = Run(run_id, folder, seconds, steps)
    in_steps = sum(record["seconds"] for record in steps.values())
    write_json(
        folder / "timing.json",
        {
            "wall_seconds": round(seconds, 2),
            "seconds_in_steps": round(in_steps, 2),
            "overhead_share": round(1 - in_steps / seconds, 4),
            "steps": {
                name: {key: record[key] for key in ("seconds", "cpu_seconds", "peak_memory_mb")}
                for name, record in steps.items()
            },
        },
    )
    if crash is not None:
        raise _failure(run, crash)
    return run


def _execute(config: Config, run_id: str, folder: Path, name: str) -> None:
    """Run the very pipeline object that `compile` compiles."""
    from kfp import local

    from pipelines.compile import pipeline

    wanted = pipeline(name)
    _retry_without_delay(wanted.pipeline_spec)
    config.paths.kfp.mkdir(parents=True, exist_ok=True)
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(config.paths.kfp / run_id),
    )
    with (
        (folder / "pipeline.log").open("a", encoding="utf-8", buffering=1) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        _environment(
            {
                progress.VARIABLE: str(folder / "progress.jsonl"),
                # Threads that wait by spinning starve each other where cores are shared: encoding
                # text on two threads beside another process took more than twice as long.
                "OMP_WAIT_POLICY": "PASSIVE",
            }
        ),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # KFP can't know that our images hold Python
        wanted(config=config.to_json(), run_id=run_id)


def _retry_without_delay(spec: Any) -> None:
    """Let the local runner start failed steps again at once.

    On a cluster a pause gives a node or a store time to come back. Here a person waits, and a
    step that can't be helped only says the same again; what passes is waited for in the step.

    Args:
        spec: KFP's `PipelineSpec`, changed in place.
    """
    for component in (spec.root, *spec.components.values()):
        for task in component.dag.tasks.values():
            task.retry_policy.backoff_duration.FromSeconds(0)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the steps' processes, for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def alone(workspace: Path) -> Iterator[None]:
    """Hold the workspace's lock: two runs at once would fight over the feature store.

    Raises:
        ConfigError: another run holds it.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    with (workspace / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another run is at work in {workspace}",
                "wait for it, or use another workspace (--workspace)",
            ) from None
        yield


def _stop_steps() -> None:
    """Interrupt the step that is still running, so that it can put its things in order.

    Ctrl-C on a terminal reaches the step by itself; a signal sent to this process alone doesn't.
    """
    import psutil

    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(children, timeout=_STOP_S)
    for child in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _record_interruption(config: Config, run_id: str) -> None:
    from components.outcome.step import run as record

    record(config.to_json(), run_id, "INTERRUPTED", "interrupted by Ctrl-C")


def _failure(run: Run, crash: RuntimeError) -> RunFailed:
    """Say which step failed and why, in the step's own words."""
    log = run.folder / "pipeline.log"
    failed = run.failed
    if failed is None:
        return RunFailed(f"the run broke off: {crash}", f"the log is {log}")
    if failed["status"] == "failed":
        return RunFailed(f"{failed['step']}: {failed['error']}", failed["hint"])
    what = failed.get("error", failed["status"])
    return RunFailed(
        f"{failed['step']} {failed['status']}: {what}",
        f"this is not your mistake; the stack trace is in {log}",
    )
