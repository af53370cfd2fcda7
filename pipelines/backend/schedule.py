"""Recurring runs as the configuration declares them: listed, compared, brought in line.

A recurring run can't be changed on the backend, so its name bears a hash of what it is: what
differs is made anew, and the old one goes once the new one stands. Recurring runs whose names are
not ours are left alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.backend.connection import Backend
from pipelines.backend.listing import everything
from pipelines.backend.pipeline_versions import ensure_version
from pipelines.backend.submit import experiment_of
from pipelines.cluster_parameters import parameters
from pipelines.compile import FOLDER, for_pipeline
from recommender.config import Config
from recommender.config.backend import ScheduleConfig
from recommender.config.tree import parse, with_settings

RUN_ID = "scheduled-[[ScheduledTime]]-[[Index]]"
"""Filled in by the backend's controller, so that each run has reports of its own."""

Doing = Literal["create", "keep", "replace", "delete"]


@dataclass(frozen=True)
class Change:
    """What applying does about one schedule.

    Attributes:
        name: of the schedule.
        doing: what.
        why: in words.
        existing: ids of recurring runs that go.
    """

    name: str
    doing: Doing
    why: str
    existing: tuple[str, ...] = ()


def recurring_runs(backend: Backend, config: Config) -> list[Any]:
    """Return the backend's recurring runs of this data set that are ours.

    Raises:
        BackendError: the backend refuses or can't be reached.
    """
    experiment = experiment_of(backend, config)
    listed = backend.calls(
        "list the recurring runs",
        lambda: everything(
            lambda **page: backend.client.list_recurring_runs(experiment_id=experiment, **page),
            "recurring_runs",
        ),
    )
    return [run for run in listed if run.display_name.startswith(f"{config.name}/")]


def diff(backend: Backend, config: Config) -> list[Change]:
    """Return what `apply` would do, by name.

    Raises:
        BackendError: the backend refuses or can't be reached.
        ConfigError: a schedule's settings are wrong.
    """
    declared = {
        name: _name(config, name, schedule) for name, schedule in config.backend.schedules.items()
    }
    there: dict[str, list[Any]] = {}
    for run in recurring_runs(backend, config):
        there.setdefault(run.display_name.split("/")[1], []).append(run)
    changes = []
    for name, display in sorted(declared.items()):
        same: list[Any] = []
        others: list[Any] = []
        for run in there.pop(name, []):
            (same if run.display_name == display else others).append(run)
        ids = tuple(run.recurring_run_id for run in (*same[1:], *others))
        if same and not ids:
            changes.append(Change(name, "keep", "as declared"))
        elif same or others:
            why = "it is there twice" if same else "it was declared differently"
            changes.append(Change(name, "replace", why, ids))
        else:
            changes.append(Change(name, "create", config.backend.schedules[name].cron))
    changes += [
        Change(name, "delete", "not declared", tuple(run.recurring_run_id for run in runs))
        for name, runs in sorted(there.items())
    ]
    return changes


def apply(backend: Backend, config: Config) -> list[Change]:
    """Bring the backend's recurring runs in line with the configuration; the changes made.

    Killed in the middle, the same call finishes the work.

    Raises:
        BackendError: the backend refuses or can't be reached.
        ConfigError: a schedule's settings are wrong.
    """
    changes = [change for change in diff(backend, config) if change.doing != "keep"]
    for change in changes:
        if change.doing in ("create", "replace"):
            _create(backend, config, change.name)
        for run_id in change.existing:
            backend.calls(
                "delete the recurring run",
                lambda run_id=run_id: backend.client.delete_recurring_run(run_id),  # type: ignore[misc]
            )
    return changes


def _create(backend: Backend, config: Config, name: str) -> None:
    schedule = config.backend.schedules[name]
    display = _name(config, name, schedule)
    version = ensure_version(backend, _scheduled(config, schedule), _package(schedule))
    experiment = experiment_of(backend, config)

    def create() -> None:
        if any(run.display_name == display for run in recurring_runs(backend, config)):
            return  # an earlier attempt got through
        backend.client.create_recurring_run(
            experiment,
            display,
            description=f"{name}: {schedule.cron}",
            start_time=schedule.start.isoformat() if schedule.start else None,
            end_time=schedule.end.isoformat() if schedule.end else None,
            cron_expression=schedule.cron,
            max_concurrency=schedule.concurrency,
            no_catchup=not schedule.catch_up,
            params=parameters(_scheduled(config, schedule), RUN_ID),
            pipeline_id=version.pipeline_id,
            version_id=version.version_id,
            enabled=schedule.enabled,
            pipeline_root=backend.config.pipeline_root or None,
            service_account=backend.config.service_account or None,
        )

    backend.calls("make the recurring run", create)


def _scheduled(config: Config, schedule: ScheduleConfig) -> Config:
    """Return the configuration that a schedule's runs have."""
    tree = with_settings(config.model_dump(mode="json"), schedule.settings, "the schedule")
    return for_pipeline(schedule.pipeline, parse(tree, "the schedule's configuration"))


def _package(schedule: ScheduleConfig) -> Path:
    return FOLDER / f"{schedule.pipeline}.yaml"


def _name(config: Config, name: str, schedule: ScheduleConfig) -> str:
    from pipelines.backend.identity import code_version

    whole = _scheduled(config, schedule)
    runs = whole.model_dump(mode="json", exclude={"workspace"})
    # Images and resources are in the version of the pipeline.
    for told_elsewhere in ("schedules", "images", "train"):
        runs["backend"].pop(told_elsewhere)
    # A schedule of trainings bears the name that it had before there were other pipelines.
    training = schedule.pipeline == "training"
    declared = schedule.model_dump(mode="json", exclude={"pipeline"} if training else set())
    code = code_version(whole, _package(schedule))
    told = json.dumps([declared, runs, code], sort_keys=True)
    return f"{config.name}/{name}/{hashlib.sha256(told.encode()).hexdigest()[:8]}"
