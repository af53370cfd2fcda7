"""KFP adapter of the gate step."""

from kfp import dsl

from components.images import image


@dsl.component(base_image=image("gate"), install_kfp_package=False)
def gate(
    config: str,
    run_id: str,
    evaluation: dsl.Input[dsl.Artifact],
    decision: dsl.Output[dsl.Artifact],
) -> str:
    """Judge the evidence by the policy.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        evaluation: what the evaluate step found.
        decision: the verdict with its rules, and the report.

    Returns:
        pass, fail or insufficient.
    """
    from components.gate.step import run

    verdict = run(config, run_id, evaluation.path, decision.path)
    decision.metadata["verdict"] = verdict
    return verdict
