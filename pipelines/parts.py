"""What pipelines have in common: how data get ready, and how a candidate wins its place.

Called inside a pipeline's function; each adds its tasks to the pipeline that is being made.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kfp import dsl

from components.deploy.component import deploy
from components.evaluate.component import evaluate
from components.gate.component import gate
from components.ingest.component import ingest
from components.materialize.component import materialize
from components.register.component import register
from components.validate.component import validate
from pipelines.steps import equip


class Prepared(NamedTuple):
    """Data that are ready.

    Attributes:
        clean: the validated tables.
        dataset: what is trained on.
    """

    clean: Any
    dataset: Any


def prepare(
    config: str, run_id: str, workspace: str, after: dsl.PipelineTask | None = None
) -> Prepared:
    """Add ingest → validate → materialize.

    Args:
        config: the whole configuration as JSON.
        run_id: names the run's reports.
        workspace: claim of the workspace's volume.
        after: a task without which there is no use in beginning.
    """
    raw = equip(ingest(config=config, run_id=run_id), "ingest", workspace=workspace)
    if after is not None:
        raw.after(after)
    valid = equip(
        validate(config=config, run_id=run_id, data=raw.outputs["data"]),
        "validate",
        workspace=workspace,
    )
    features = equip(
        materialize(config=config, run_id=run_id, clean=valid.outputs["clean"]),
        "materialize",
        workspace=workspace,
    )
    return Prepared(valid.outputs["clean"], features.outputs["dataset"])


def judge_and_release(config: str, run_id: str, workspace: str, data: Prepared, model: Any) -> None:
    """Add evaluate → gate → register, and deploy if the candidate passed.

    Args:
        config: the whole configuration as JSON.
        run_id: names the run's reports.
        workspace: claim of the workspace's volume.
        data: from `prepare`.
        model: what a step that trains left.
    """
    evaluated = equip(
        evaluate(config=config, run_id=run_id, dataset=data.dataset, model=model),
        "evaluate",
        workspace=workspace,
    )
    judged = equip(
        gate(config=config, run_id=run_id, evaluation=evaluated.outputs["evaluation"]),
        "gate",
        workspace=workspace,
    )
    record = {
        "config": config,
        "run_id": run_id,
        "dataset": data.dataset,
        "model": model,
        "evaluation": evaluated.outputs["evaluation"],
        "decision": judged.outputs["decision"],
    }
    with dsl.If(judged.outputs["Output"] == "pass"):
        accepted = equip(register(**record), "register", workspace=workspace)
        equip(
            deploy(
                config=config, run_id=run_id, clean=data.clean, version=accepted.outputs["Output"]
            ),
            "deploy",
            workspace=workspace,
        )
    with dsl.Else():
        equip(register(**record), "register", workspace=workspace)
