"""A judged model in, a signed and immutable version out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.boundary import running
from recommender.config import Config
from recommender.errors import ArtifactError
from recommender.evaluation.evidence import CANDIDATE, Evidence
from recommender.evaluation.gate import Decision as Verdict
from recommender.features.dataset import Dataset
from recommender.files import read_json
from recommender.registry import Decision, Lineage, Registry, Status, code_version
from recommender.registry.content import digests, version_of

# Of the gate step, in the run's folder. Its module is not asked: this image has no Jinja.
_REPORT = "evaluation.html"
_STATUS = {
    "pass": Status.PASSED,
    "fail": Status.REJECTED,
    "insufficient": Status.INSUFFICIENT,
}


def run(config: str, run_id: str, dataset: str, model: str, evaluation: str, decision: str) -> str:
    """Register the candidate with its lineage, and what the gate decided about it.

    Whatever the decision, the version and its report stay in the registry; only one that passed
    becomes the alias `candidate`.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        dataset: folder of a `recommender.features.dataset.Dataset`.
        model: folder that the train step left: `candidate` and `training.json`.
        evaluation: folder that the evaluate step left.
        decision: folder that the gate step left.

    Returns:
        the version, `m-<12 hex>`.

    Raises:
        SystemExit: an artifact is missing or damaged, the decision is about another model, or the
            registry can't be written. No half version is visible; the aliases are as they were.
    """
    with running("register", config, run_id) as step:
        candidate = Path(model) / "candidate"
        verdict, evidence = Verdict.read(Path(decision)), Evidence.read(Path(evaluation))
        _must_be_judged(candidate, verdict, evidence)
        registry = Registry.configured(step.config)
        status = _status(verdict)
        lineage = _lineage(step.config, run_id, Path(dataset), Path(model), evidence)
        version = registry.register(
            candidate,
            lineage,
            Decision(
                run_id,
                status,
                str((step.folder / _REPORT).relative_to(step.config.paths.root)),
                verdict.model_dump(mode="json"),
            ),
        )
        step.summary |= {
            "version": version,
            "status": status.value,
            "headline": verdict.headline,
            "uri": registry.uri(version),
            "candidate": registry.candidate(),
            "champion": registry.champion(),
            "code_version": lineage.code_version,
        }
        return version


def _must_be_judged(candidate: Path, verdict: Verdict, evidence: Evidence) -> None:
    """Make sure that the model at hand is the one that was measured and judged."""
    version = version_of(digests(candidate))
    for what, about in (
        ("the evaluation", evidence.candidate_version),
        ("the decision", verdict.candidate_version),
    ):
        if about != version:
            raise ArtifactError(
                f"{what} is about {about}, but {candidate} is {version}",
                "the artifacts come from different runs; run the pipeline again",
            )


def _status(verdict: Verdict) -> Status:
    if verdict.action == "keep champion":
        return Status.UNCHANGED
    return _STATUS[verdict.verdict]


def _lineage(
    config: Config, run_id: str, dataset: Path, model: Path, evidence: Evidence
) -> Lineage:
    data = Dataset.read(dataset)
    training = read_json(model / "training.json")
    return Lineage(
        run_id=run_id,
        data_version=data.data_version,
        config_fingerprint=config.fingerprint(),
        config=config.model_dump(mode="json"),
        code_version=code_version(),
        folds=data.folds,
        encoder=data.encoder,
        metrics=_metrics(evidence),
        training=training,
        parents=tuple(training.get("parents", ())),
    )


def _metrics(evidence: Evidence) -> dict[str, Any]:
    measured = evidence.system(CANDIDATE)
    return {
        "evaluation_set": evidence.evaluation_set.version,
        "users": evidence.evaluation_set.users,
        "confidence": evidence.confidence,
        CANDIDATE: {
            name: interval.model_dump(mode="json")
            for name, interval in (measured.metrics if measured else {}).items()
        },
        "better_by": {
            compared.rival: compared.difference[evidence.primary].model_dump(mode="json")
            for compared in evidence.comparisons
        },
    }
