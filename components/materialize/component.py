"""KFP adapter of the materialize step."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("materialize"), install_kfp_package=False)
def materialize(
    config: str,
    run_id: str,
    clean: dsl.Input[dsl.Dataset],
    dataset: dsl.Output[dsl.Dataset],
) -> None:
    """Turn clean tables into a training data set, and publish features as of the test cut.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        clean: the validated tables and their manifest.
        dataset: the event log, the catalogue, its text vectors and the folds.
    """
    from components.materialize.step import run

    run(config, run_id, clean.path, dataset.path)
