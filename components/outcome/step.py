"""Records how a run ended: for people, for the command line and for whoever triggers the next."""

from __future__ import annotations

import time

from components.boundary import running
from recommender.files import read_json, write_json


def run(config: str, run_id: str, state: str, error: str) -> None:
    """Write `outcome.json` into the run's folder.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        state: SUCCEEDED, FAILED or INTERRUPTED.
        error: what the backend says of a failure; the failed step's own message is preferred.
    """
    with running("outcome", config, run_id) as step:
        records = [read_json(path) for path in sorted((step.folder / "steps").glob("*.json"))]
        failed = next((r for r in records if r["status"] != "succeeded"), None)
        outcome = {
            "run_id": run_id,
            "state": state,
            "ended": time.time(),
            "failed_step": failed["step"] if failed else None,
            "error": failed.get("error", failed["status"]) if failed else error,
            "seconds_in_steps": {r["step"]: r.get("seconds") for r in records},
        }
        write_json(step.folder / "outcome.json", outcome)
        step.summary["state"] = state
