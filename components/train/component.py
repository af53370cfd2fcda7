"""KFP adapter of the train step."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("train"), install_kfp_package=False)
def train(
    config: str,
    run_id: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
) -> None:
    """Train the Transformer on every fold; the last fold's model is the candidate.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        dataset: the log, the catalogue, text vectors and the folds.
        model: `candidate`, the models of the earlier folds, and how training went.
    """
    from components.train.step import run

    run(config, run_id, dataset.path, model.path)
