"""KFP adapter of the refresh step."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("train"), install_kfp_package=False)
def refresh(
    config: str,
    run_id: str,
    dataset: dsl.Input[dsl.Dataset],
    champion: dsl.Input[dsl.Model],
    model: dsl.Output[dsl.Model],
) -> None:
    """Let the champion learn what happened since it was trained; the result is the candidate.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        dataset: the log, the catalogue, text vectors and the cut.
        champion: the model in production.
        model: `candidate`, and how the refresh went.
    """
    from components.refresh.step import run

    run(config, run_id, dataset.path, champion.path, model.path)
