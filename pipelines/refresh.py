"""The refresh pipeline: the model in production learns what happened since, and is judged anew.

    champion → ingest → validate → materialize → refresh → evaluate → gate → register (→ deploy)

All but `champion` and `refresh` are the very steps of the training pipeline.
"""

from kfp import dsl

from components.champion.component import champion
from components.outcome.component import outcome
from components.refresh.component import refresh as learn_since
from pipelines.cluster_parameters import CLAIM
from pipelines.parts import judge_and_release, prepare
from pipelines.steps import equip


@dsl.pipeline(
    name="ostinato-refresh",
    description="Let the champion learn what happened since, judge it, and deploy by a canary.",
)
def refresh(config: str, run_id: str, workspace: str = CLAIM) -> None:
    """Refresh the champion and put the result into production if it deserves it.

    Args:
        config: the whole configuration as JSON, with one cut (`ostinato refresh` fills it in).
        run_id: names the run's reports; unique.
        workspace: claim of the volume that the steps share, on a cluster.
    """
    ended = equip(outcome(config=config, run_id=run_id), "outcome", workspace=workspace)
    with dsl.ExitHandler(ended):
        # Without a champion there is nothing to refresh, which is said before work begins.
        reigning = equip(
            champion(config=config, run_id=run_id), "register", "champion", workspace=workspace
        )
        data = prepare(config, run_id, workspace, after=reigning)
        refreshed = equip(
            learn_since(
                config=config,
                run_id=run_id,
                dataset=data.dataset,
                champion=reigning.outputs["champion"],
            ),
            "train",
            "refresh",
            workspace=workspace,
        )
        judge_and_release(config, run_id, workspace, data, refreshed.outputs["model"])
