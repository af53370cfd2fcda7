"""KFP adapter of the register step."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("register"), install_kfp_package=False)
def register(
    config: str,
    run_id: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    decision: dsl.Input[dsl.Artifact],
) -> str:
    """Sign the candidate, store it with its lineage, and record what the gate decided.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        dataset: what the model was trained on.
        model: the candidate and how its training went.
        evaluation: what the evaluate step found.
        decision: what the gate decided.

    Returns:
        the version.
    """
    from components.register.step import run

    return run(config, run_id, dataset.path, model.path, evaluation.path, decision.path)
