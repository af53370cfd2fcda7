"""The training pipeline: from raw data to a recommender that won its place by a canary.

    ingest → validate → materialize → train → evaluate → gate ─┬─ pass: register → deploy
                                                               └─ else: register as rejected

The same object runs on a laptop (`pipelines/run.py`) and, compiled, on a KFP backend.
"""

from kfp import dsl

from components.deploy.component import deploy
from components.evaluate.component import evaluate
from components.gate.component import gate
from components.ingest.component import ingest
from components.materialize.component import materialize
from components.outcome.component import outcome
from components.register.component import register
from components.train.component import train
from components.validate.component import validate
from pipelines.steps import equip


@dsl.pipeline(
    name="ostinato-training",
    description="Validate, materialize, train, evaluate, gate, register, and deploy by a canary.",
)
def training(config: str, run_id: str) -> None:
    """Train a recommender and put it into production if it deserves it.

    Args:
        config: the whole configuration as JSON (`ostinato run` and `ostinato submit` fill it in).
        run_id: names the run's reports; unique.
    """
    ended = equip(outcome(config=config, run_id=run_id), "outcome")
    with dsl.ExitHandler(ended):
        raw = equip(ingest(config=config, run_id=run_id), "ingest")
        valid = equip(validate(config=config, run_id=run_id, data=raw.outputs["data"]), "validate")
        features = equip(
            materialize(config=config, run_id=run_id, clean=valid.outputs["clean"]), "materialize"
        )
        trained = equip(
            train(config=config, run_id=run_id, dataset=features.outputs["dataset"]), "train"
        )
        evaluated = equip(
            evaluate(
                config=config,
                run_id=run_id,
                dataset=features.outputs["dataset"],
                model=trained.outputs["model"],
            ),
            "evaluate",
        )
        judged = equip(
            gate(config=config, run_id=run_id, evaluation=evaluated.outputs["evaluation"]), "gate"
        )
        record = {
            "config": config,
            "run_id": run_id,
            "dataset": features.outputs["dataset"],
            "model": trained.outputs["model"],
            "evaluation": evaluated.outputs["evaluation"],
            "decision": judged.outputs["decision"],
        }
        with dsl.If(judged.outputs["Output"] == "pass"):
            accepted = equip(register(**record), "register")
            equip(
                deploy(
                    config=config,
                    run_id=run_id,
                    clean=valid.outputs["clean"],
                    version=accepted.outputs["Output"],
                ),
                "deploy",
            )
        with dsl.Else():
            equip(register(**record), "register")
