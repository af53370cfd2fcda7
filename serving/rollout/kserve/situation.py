"""What the spec of an InferenceService says of versions: who has the traffic, who wants it.

In Standard mode the stable predictor and the canary are side by side in the spec. In Knative mode
there is one predictor, and what was there before lives on only as a revision; so the stable version
is put down in an annotation, in the same patch that replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from recommender.errors import RolloutError

OWNER = "ostinato.example/rollout-owner"
"""Annotation: who drives the canary that is there."""

STABLE = "ostinato.example/stable-version"
"""Annotation: version that has the traffic while the predictor is another one (Knative)."""

REPLICAS = "ostinato.example/stable-min-replicas"
"""Annotation: `minReplicas` of the stable predictor before the canary; "" if it had none."""

BEFORE = "ostinato.example/revision-before"
"""Annotation of the predictor (Knative): `latestCreatedRevision` before the canary. What the status
says of that revision is no news of the canary; and as it is part of the pods' template, a version
that is tried again gets a new revision, and not the old one that may have failed."""


class Mode(StrEnum):
    """How KServe deploys an InferenceService."""

    STANDARD = "standard"
    KNATIVE = "knative"


@dataclass(frozen=True)
class Situation:
    """Who is served.

    Attributes:
        live: version that everybody gets apart from a canary; None if it is none of ours.
        canary: version that gets a share; None if there is none or it is none of ours.
        percent: of the canary.
        present: whether there is any canary.
        owner: who drives it; "" if nobody has said.
    """

    live: str | None
    canary: str | None = None
    percent: int = 0
    present: bool = False
    owner: str = ""

    def canary_of(self, owner: str) -> str | None:
        """Return the version of the canary that somebody drives; None if there is none.

        Raises:
            RolloutError: there is a canary, and somebody else drives it.
        """
        if not self.present:
            return None
        if self.owner != owner or self.canary is None:
            who = f"another rollout ({self.owner})" if self.owner else "somebody else"
            raise RolloutError(
                f"a canary of {who} is there: {self.canary or 'not one of our versions'} "
                f"with {self.percent} %",
                "wait until that rollout has ended, or take its canary away, then run again",
            )
        return self.canary


def situation(service: dict[str, Any], mode: Mode) -> Situation:
    """Read an InferenceService.

    Args:
        service: as the API server returns it.
        mode: how it is deployed.
    """
    name = service["metadata"]["name"]
    marks = marks_of(service)
    owner = marks.get(OWNER, "")
    predictor = service["spec"]["predictor"]
    version = version_of(predictor, name)
    if mode is Mode.STANDARD:
        canaries = service["spec"].get("canary") or []
        if not canaries:
            return Situation(version)
        only = version_of(canaries[0]["predictor"], name) if len(canaries) == 1 else None
        percent = sum(canary.get("trafficPercent", 0) for canary in canaries)
        return Situation(version, only, percent, present=True, owner=owner)
    share = predictor.get("canaryTrafficPercent")
    if share is None:
        return Situation(version)
    stable = marks.get(STABLE)
    if stable and not owner and share == 0:
        return Situation(stable)  # rolled back: the predictor's revision gets nothing
    return Situation(stable, version if stable else None, share, present=True, owner=owner)


def version_of(predictor: dict[str, Any], name: str) -> str | None:
    """Return which of our versions a predictor is, by its runtime; None if it is none.

    Args:
        predictor: of an InferenceService or of a canary.
        name: of the InferenceService.
    """
    runtime = predictor.get("model", {}).get("runtime") or ""
    return runtime.removeprefix(f"{name}-") if runtime.startswith(f"{name}-") else None


def revision_before(service: dict[str, Any]) -> str | None:
    """Return the revision that was the newest before the canary; None if it isn't known."""
    before: str | None = (service["spec"]["predictor"].get("annotations") or {}).get(BEFORE)
    return before


def marks_of(service: dict[str, Any]) -> dict[str, str]:
    """Return the annotations of an object."""
    return service["metadata"].get("annotations") or {}
