"""Evidence in, a verdict out."""

from __future__ import annotations

from pathlib import Path

from components.boundary import running
from recommender.evaluation import report
from recommender.evaluation.evidence import Evidence
from recommender.evaluation.gate import judge


def run(config: str, run_id: str, evaluation: str, decision: str) -> str:
    """Judge the evidence by the policy of the configuration.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        evaluation: folder that the evaluate step left.
        decision: the folder that gets `decision.json` and `evaluation.html`.

    Returns:
        `pass`, `fail` or `insufficient`.

    Raises:
        SystemExit: the evidence is missing or damaged.
    """
    with running("gate", config, run_id) as step:
        evidence = Evidence.read(Path(evaluation))
        decided = judge(evidence, step.config.evaluation.gate, step.config.evaluation.slices)
        decided.write(Path(decision))
        for folder in (Path(decision), step.folder):
            report.write(folder / report.FILE, evidence, decided)
        step.summary |= {
            "verdict": decided.verdict,
            "action": decided.action,
            "headline": decided.headline,
            "reasons": [
                {"rule": rule.rule, "verdict": rule.verdict, "reason": rule.reason}
                for rule in decided.rules
            ],
        }
        return decided.verdict
