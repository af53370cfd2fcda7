"""A TrainJob, looked at until it has ended; every wait is bounded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from components.train.trainjob.manifest import GROUP
from recommender.config.distributed import TrainJobConfig
from recommender.errors import UserError
from serving.rollout.kserve.client import Cluster, Resource

logger = logging.getLogger(__name__)

_SLACK_S = 600.0
"""How much longer than its own deadline a job is looked at: the controller needs its time."""


class TrainJobError(UserError):
    """A TrainJob was refused, never began, or came to a bad end."""

    passing: ClassVar[bool] = True


@dataclass(frozen=True)
class Look:
    """A job at a moment.

    Attributes:
        state: `Complete`, `Failed`, `Suspended`, `Running` (all nodes are there) or `Waiting`.
        why: reason and message of the condition that says so.
    """

    state: str
    why: str = ""


def jobs(settings: TrainJobConfig) -> Resource:
    """Return the kind of the jobs."""
    return Resource(GROUP, "trainjobs", settings.namespace)


def look(job: dict[str, Any]) -> Look:
    """Return how a job is."""
    status = job.get("status") or {}
    true = {c["type"]: c for c in status.get("conditions") or [] if c["status"] == "True"}
    for state in ("Failed", "Complete", "Suspended"):
        if state in true:
            told = true[state]
            return Look(state, f"{told.get('reason', '')}: {told.get('message', '')}".strip(": "))
    parts = status.get("jobsStatus") or []
    ready = bool(parts) and all(each["ready"] or each["succeeded"] for each in parts)
    return Look("Running" if ready else "Waiting")


def follow(
    cluster: Cluster,
    settings: TrainJobConfig,
    name: str,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Look at a job until it is complete.

    A job whose nodes never all begin is deleted, so that it doesn't wake up later and train what
    nobody waits for.

    Args:
        cluster: where it is.
        settings: of the job.
        name: of the job.
        sleep: between looks.
        clock: in seconds.

    Raises:
        TrainJobError: it failed, was deleted, never began, or is at work for too long.
        ServingError: the API server can't be asked; the job takes no harm.
    """
    began = clock()
    last, ran = Look("?"), False
    while True:
        job = cluster.get(jobs(settings), name)
        if job is None:
            raise TrainJobError(
                f"the TrainJob {name} is gone: somebody deleted it while it was followed",
                "run again; training goes on from its last checkpoint",
            )
        now = look(job)
        if now != last:
            logger.info("TrainJob %s: %s %s", name, now.state, now.why)
        last, ran = now, ran or now.state == "Running"
        if now.state == "Complete":
            return
        if now.state == "Failed":
            raise TrainJobError(
                f"the TrainJob {name} has failed: {now.why or 'no reason given'}",
                "its pods' logs tell more; run again to go on from the last checkpoint",
            )
        waited = clock() - began
        if not ran and waited > settings.schedule_s:
            cluster.delete(jobs(settings), name)
            raise TrainJobError(
                f"the nodes of the TrainJob {name} did not begin within {settings.schedule_s:g} s "
                f"({now.state}{': ' + now.why if now.why else ''}); it was deleted",
                "look for GPUs, quota and the runtime (kubectl describe trainjob), or raise "
                "distributed.trainjob.schedule_s",
            )
        if waited > settings.schedule_s + 3600 * settings.hours + _SLACK_S:
            raise TrainJobError(
                f"the TrainJob {name} is at work for longer than distributed.trainjob.hours, and "
                "its controller does not end it",
                "look at the Trainer's controller; run again to go on from the last checkpoint",
            )
        sleep(settings.poll_s)
