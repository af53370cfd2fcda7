"""A registered version in, a served one out, if its canary says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.boundary import running
from feature_repo.locations import project_name
from recommender.config import Config
from recommender.files import read_json, write_json
from recommender.registry import Registry
from recommender.tables import Tables
from serving import endpoint, inference_service
from serving.rollout import report
from serving.rollout.release import Release, release, rollouts_of
from serving.rollout.state import State

_EXAMPLES = 3


def run(config: str, run_id: str, clean: str, version: str, rollout: str) -> str:
    """Roll a version out on this machine, against the champion.

    Killed at any point, the same call again goes on where it was, or takes the candidate away.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        clean: folder of the validated tables and their manifest.
        version: in the registry, accepted by the gate.
        rollout: folder that gets `inference-service.yaml` and, if there was a rollout,
            `state.json`, `records.jsonl` (users are pseudonyms) and `canary.html`.

    Returns:
        `promoted`, `rolled_back` (a verdict, not a failure: what was served still is) or
        `unchanged` (the version is the champion already).

    Raises:
        SystemExit: something other than the candidate is in the way; champion and endpoint are as
            they were.
    """
    with running("deploy", config, run_id) as step:
        tree, folder = step.config, Path(rollout)
        tables = Tables.read(Path(clean))
        data_version = str(read_json(Path(clean) / "manifest.json")["data_version"])
        done = release(tree, tables, data_version, version, run_id)
        step.summary |= {
            "outcome": done.outcome.value,
            "reason": done.reason,
            "candidate": version,
            "champion": done.champion,
            "endpoint": done.endpoint,
            "steps": _steps(done.rollout),
            "left_out": list(done.rollout.plan.left_out) if done.rollout else [],
            "examples": list(_examples(tree, done)),
        }
        folder.mkdir(parents=True, exist_ok=True)
        _write_manifests(tree, version, folder)
        if done.rollout:
            _write_record(tree, done.rollout, folder, step.folder)
        return done.outcome.value


def _steps(state: State | None) -> list[dict[str, Any]]:
    """Return the steps' own figures, by arm, for people and for the end of the run."""
    if state is None:
        return []
    return [
        {
            "percent": told["percent"],
            **{
                name: {arm: figures[name] for arm, figures in told["arms"].items()}
                for name in ("users", "errors", "p95_ms", "hit_rate")
            },
            "verdict": told["verdict"],
            "reason": told["reason"],
        }
        for told in state.analyses
    ]


def _examples(config: Config, done: Release) -> Iterator[dict[str, Any]]:
    """Ask the live endpoint for a few held-out users.

    The summary stays in the workspace, beside the data; it names the users so that a person can
    ask again.
    """
    if config.rollout.target != "local":
        return  # whoever serves elsewhere is asked there
    for user in done.users[:_EXAMPLES]:
        answer = endpoint.ask(config, user.user_id, config.rollout.k)
        yield {
            "user_id": user.user_id,
            "items": [
                {"item_id": item["item_id"], "title": item["title"], "score": item["score"]}
                for item in answer["items"]
            ],
            "model_version": answer["model_version"],
            "history": answer["history"],
        }


def _write_manifests(config: Config, version: str, folder: Path) -> None:
    """Write what a cluster would be told to serve."""
    documents = inference_service.manifests(
        config, version, Registry.configured(config).uri(version), project_name(config, "live")
    )
    inference_service.write(folder / "inference-service.yaml", documents)


def _write_record(config: Config, state: State, folder: Path, reports: Path) -> None:
    rollouts = rollouts_of(config)
    records = rollouts.journal(state)
    found = records.read()
    for path in (folder / report.FILE, reports / report.FILE):
        report.write(path, state, found, config)
    write_json(folder / "state.json", state.to_dict())
    records.copy(folder / "records.jsonl")
