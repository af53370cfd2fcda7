"""A run on the backend, made once however often it is asked for.

The backend knows no idempotency, so a run bears its key in its name. Whoever submits looks first;
and looks again afterwards, because two can look at the same time: then all but the earliest run of
a key are ended by whoever made them.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.backend.calls import ConflictError
from pipelines.backend.connection import Backend
from pipelines.backend.identity import idempotency_key
from pipelines.backend.listing import everything, named
from pipelines.backend.pipeline_versions import ensure_version
from pipelines.cluster_parameters import parameters
from pipelines.compile import COMPILED
from recommender.config import Config

LOST = frozenset({"FAILED", "CANCELED", "CANCELING"})


@dataclass(frozen=True)
class Submitted:
    """A run on the backend.

    Attributes:
        run_id: of the backend.
        name: `<data set>-<idempotency key>`.
        state: when it was looked at.
        created: whether this call made it.
        url: of its page.
    """

    run_id: str
    name: str
    state: str
    created: bool
    url: str


def submit(
    backend: Backend,
    config: Config,
    *,
    data: str | None = None,
    again: bool = False,
    package: Path = COMPILED,
) -> Submitted:
    """Run a pipeline on the backend, unless this very thing was run or is running.

    A run of the same key that failed or was cancelled doesn't stand in the way.

    Args:
        backend: the connection.
        config: the whole configuration; becomes a parameter of the run.
        data: version of the data, see `idempotency_key`.
        again: run it even if it was run before.
        package: the compiled pipeline.

    Raises:
        BackendError: the backend refuses or can't be reached.
        ConfigError: as for `uploaded`.
        SourceError: nothing lies where the configuration says that the raw data are.
    """
    name = f"{config.name}-{idempotency_key(config, data, package)}"
    experiment = experiment_of(backend, config)
    if not again and (known := _standing(backend, experiment, name)):
        return _told(backend, known[0], created=False)
    version = ensure_version(backend, config, package)
    before = {run.run_id for run in _runs(backend, experiment, name)}

    def create() -> Any:
        # An answer that got lost is no reason for a second run.
        made = [run for run in _runs(backend, experiment, name) if run.run_id not in before]
        if made:
            return made[0]
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a link
            return backend.client.run_pipeline(
                experiment,
                name,
                params=parameters(config, _run_name(name, len(before))),
                pipeline_id=version.pipeline_id,
                version_id=version.version_id,
                pipeline_root=backend.config.pipeline_root or None,
                service_account=backend.config.service_account or None,
            )

    run = backend.calls("start the run", create)
    if not again:
        first = _standing(backend, experiment, name)[0]
        if first.run_id != run.run_id:
            backend.calls("end the second run", lambda: backend.client.terminate_run(run.run_id))
            return _told(backend, first, created=False)
    return _told(backend, run, created=True)


def _run_name(name: str, earlier: int) -> str:
    """Return what the run's own reports are called: another name for another attempt."""
    return f"{name}-{earlier + 1}" if earlier else name


def experiment_of(backend: Backend, config: Config) -> str:
    """Return the id of the experiment that the data set's runs belong to; it is made if need be.

    Raises:
        BackendError: the backend refuses or can't be reached.
    """
    name = backend.config.experiment or config.name

    def ensure() -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return backend.client.create_experiment(name, namespace=backend.namespace)

    doing = "find or make the experiment"
    try:
        experiment = backend.calls(doing, ensure)
    except ConflictError:  # somebody else made it between the looking and the making
        experiment = backend.calls(doing, ensure)
    return str(experiment.experiment_id)


def _runs(backend: Backend, experiment: str, name: str) -> list[Any]:
    return everything(
        lambda **page: backend.client.list_runs(
            experiment_id=experiment, filter=named(name), **page
        ),
        "runs",
    )


def _standing(backend: Backend, experiment: str, name: str) -> list[Any]:
    """Return the runs of a name that are under way or have succeeded, the earliest first."""
    runs = backend.calls("list the runs", lambda: _runs(backend, experiment, name))
    standing = [run for run in runs if (run.state or "") not in LOST]
    return sorted(standing, key=lambda run: (run.created_at, run.run_id))


def _told(backend: Backend, run: Any, *, created: bool) -> Submitted:
    url = f"{backend.client._get_url_prefix()}/#/runs/details/{run.run_id}"
    return Submitted(run.run_id, run.display_name, run.state or "PENDING", created, url)
