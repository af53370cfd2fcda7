"""KFP adapter of the exit handler."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("outcome"), install_kfp_package=False)
def outcome(status: dsl.PipelineTaskFinalStatus, config: str, run_id: str) -> None:
    """Record how the run ended in `outcome.json`.

    Args:
        status: of the pipeline, filled in by the backend.
        config: the configuration as JSON.
        run_id: of this run.
    """
    from components.outcome.step import run

    run(config, run_id, status.state, status.error_message or "")
