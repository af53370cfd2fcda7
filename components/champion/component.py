"""KFP adapter of the champion step."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("register"), install_kfp_package=False)
def champion(
    config: str,
    run_id: str,
    champion: dsl.Output[dsl.Model],
) -> None:
    """Fetch the model in production, verified.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        champion: the model, and what a refresh needs to know of it.
    """
    from components.champion.step import run

    run(config, run_id, champion.path)
