"""KFP adapter of the evaluate step."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("evaluate"), install_kfp_package=False)
def evaluate(
    config: str,
    run_id: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
) -> None:
    """Score the candidate, its rivals and the champion on one frozen set of requests.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        dataset: the log, the catalogue and the folds.
        model: the candidate and the models of the earlier folds.
        evaluation: figures with intervals, users' metrics, and the frozen set itself.
    """
    from components.evaluate.step import run

    run(config, run_id, dataset.path, model.path, evaluation.path)
