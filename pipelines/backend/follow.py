"""A run on the backend, followed to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.backend.calls import BackendError, NotFoundError
from pipelines.backend.connection import Backend

_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"})


@dataclass(frozen=True)
class Look:
    """A run at a moment.

    Attributes:
        state: of the run.
        steps: state of each step that was begun, by name, in the order of their beginning.
        errors: of the steps that failed, by name.
        error: of the run itself.
    """

    state: str
    steps: dict[str, str]
    errors: dict[str, str]
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in _ENDED


def look(backend: Backend, run_id: str) -> Look:
    """Return how a run is.

    Raises:
        NotFoundError: it was deleted.
        BackendError: the backend refuses or can't be reached.
    """
    run = backend.calls("look at the run", lambda: backend.client.get_run(run_id))
    tasks = (run.run_details.task_details if run.run_details else None) or []
    begun = sorted((t for t in tasks if _is_step(t)), key=lambda t: str(t.start_time or "~"))
    return Look(
        run.state or "PENDING",
        {task.display_name: task.state or "PENDING" for task in begun},
        {task.display_name: task.error.message for task in begun if task.error},
        run.error.message if run.error else "",
    )


def follow(
    backend: Backend,
    run_id: str,
    show: Callable[[Look], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Look:
    """Look at a run until it has ended.

    Args:
        backend: the connection.
        run_id: of the backend.
        show: is given every look that differs from the one before.
        sleep: between looks.

    Returns:
        the last look.

    Raises:
        NotFoundError: it was deleted while it was followed.
        BackendError: it failed or was cancelled; or the backend refuses or can't be reached, of
            which the run takes no harm.
    """
    before = None
    while True:
        try:
            now = look(backend, run_id)
        except NotFoundError as error:
            raise NotFoundError(
                f"the run {run_id} is gone: somebody deleted it",
                "what its steps had done until then is done; submit it again to finish",
            ) from error
        if now != before:
            show(now)
        if now.ended:
            break
        before = now
        sleep(backend.config.poll_s)
    if now.state in ("FAILED", "CANCELED"):
        told = "; ".join(f"{step}: {error}" for step, error in now.errors.items())
        raise BackendError(
            f"the run {run_id} has {'failed' if now.state == 'FAILED' else 'been cancelled'}"
            + (f": {told or now.error}" if told or now.error else ""),
            "the step's log on the backend tells more; submitting again goes on from what is done",
        )
    return now


def _is_step(task: Any) -> bool:
    """Tell steps from the drivers and groups that the backend lists with them."""
    name = task.display_name or ""
    groups = ("condition", "exit-handler", "for-loop", "root")
    return bool(name) and not name.endswith("-driver") and not name.startswith(groups)
