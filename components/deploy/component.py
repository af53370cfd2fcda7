"""KFP adapter of the deploy step."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("deploy"), install_kfp_package=False)
def deploy(
    config: str,
    run_id: str,
    clean: dsl.Input[dsl.Dataset],
    version: str,
    rollout: dsl.Output[dsl.Artifact],
) -> str:
    """Roll a version out by a canary.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        clean: the validated tables and their manifest.
        version: in the registry, accepted by the gate.
        rollout: the manifests, and the record of the rollout.

    Returns:
        promoted, rolled_back or unchanged.
    """
    from components.deploy.step import run

    return run(config, run_id, clean.path, version, rollout.path)
