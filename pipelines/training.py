"""The training pipeline: from raw data to a recommender that won its place by a canary.

    ingest → validate → materialize → train → evaluate → gate ─┬─ pass: register → deploy
                                                               └─ else: register as rejected

The same object runs on a laptop (`pipelines/run.py`) and, compiled, on a KFP backend.
"""

from kfp import dsl

from components.outcome.component import outcome
from components.train.component import train
from pipelines.cluster_parameters import CLAIM
from pipelines.parts import judge_and_release, prepare
from pipelines.steps import equip


@dsl.pipeline(
    name="ostinato-training",
    description="Validate, materialize, train, evaluate, gate, register, and deploy by a canary.",
)
def training(config: str, run_id: str, workspace: str = CLAIM) -> None:
    """Train a recommender and put it into production if it deserves it.

    Args:
        config: the whole configuration as JSON (`ostinato run` and `ostinato submit` fill it in).
        run_id: names the run's reports; unique.
        workspace: claim of the volume that the steps share, on a cluster.
    """
    ended = equip(outcome(config=config, run_id=run_id), "outcome", workspace=workspace)
    with dsl.ExitHandler(ended):
        data = prepare(config, run_id, workspace)
        trained = equip(
            train(config=config, run_id=run_id, dataset=data.dataset), "train", workspace=workspace
        )
        judge_and_release(config, run_id, workspace, data, trained.outputs["model"])
