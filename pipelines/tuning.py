"""The tuning pipeline: which settings learn most from the data.

    ingest → validate → materialize → seats → tune, tune, … (side by side) → conclude

Nothing is registered or deployed: a person takes over `best.yaml`, or doesn't.
"""

from kfp import dsl

from components.tune.component import conclude, seats, tune
from pipelines.cluster_parameters import CLAIM
from pipelines.parts import prepare
from pipelines.steps import equip


@dsl.pipeline(
    name="ostinato-tuning",
    description="Search the settings that learn most from the data, many at a time.",
)
def tuning(config: str, run_id: str, workspace: str = CLAIM) -> None:
    """Search settings, as `tuning` in the configuration says.

    Args:
        config: the whole configuration as JSON (`ostinato tune` fills it in).
        run_id: names the run's reports; unique.
        workspace: claim of the volume that the steps share, on a cluster.
    """
    # No exit handler: the backend has failed to run loops inside of one (kubeflow/pipelines#12390).
    data = prepare(config, run_id, workspace)
    names = equip(seats(config=config, run_id=run_id), "gate", "seats", workspace=workspace)
    with dsl.ParallelFor(names.output) as worker:
        tried = equip(
            tune(config=config, run_id=run_id, worker=worker, dataset=data.dataset),
            "train",
            "tune",
            workspace=workspace,
        )
    told = equip(
        conclude(config=config, run_id=run_id, dataset=data.dataset),
        # It reads the study, with the worker's secret and way to it, and trains nothing.
        "train",
        "tuned",
        workspace=workspace,
        asks="evaluate",
    )
    told.after(tried)
