"""How a commit is seen to have arrived: on the cluster, in the InferenceService itself.

Which controller applies the commits, and what it says of itself, doesn't matter: a commit has
arrived when the InferenceService has what the commit says, and its status says that it is so.
"""

from __future__ import annotations

from typing import Any, Protocol

from recommender.config.rollout_targets import KServeTargetConfig
from recommender.errors import RolloutError
from serving.rollout.gitops.shares import Shares
from serving.rollout.kserve import status
from serving.rollout.kserve.client import Cluster, Resource
from serving.rollout.kserve.patches import KNATIVE_MOST
from serving.rollout.kserve.preflight import inspect
from serving.rollout.kserve.situation import Mode, version_of
from serving.rollout.kserve.status import Progress, Reading


class Observer(Protocol):
    """Sees what became of a commit."""

    def preflight(self, mode: Mode) -> None:
        """Look whether a canary is possible at all, before one is committed.

        Args:
            mode: how people say that the InferenceService is deployed.

        Raises:
            RolloutError: this cluster can't split its traffic.
            ServingError: it can't be seen.
        """
        ...

    def candidate(self, shares: Shares, mode: Mode) -> Reading:
        """Return whether the candidate is ready and has its share.

        Raises:
            ServingError: it can't be seen.
        """
        ...

    def stable(self, shares: Shares, mode: Mode) -> Reading:
        """Return whether the stable arm is ready and, without a candidate, has everybody.

        Raises:
            ServingError: it can't be seen.
        """
        ...


class Unobserved:
    """Takes every commit for carried out. For tests of what needs no cluster."""

    def preflight(self, mode: Mode) -> None:
        """Find nothing wrong."""

    def candidate(self, shares: Shares, mode: Mode) -> Reading:  # noqa: ARG002
        """Say that it is ready."""
        return Reading(Progress.READY)

    def stable(self, shares: Shares, mode: Mode) -> Reading:  # noqa: ARG002
        """Say that it is ready."""
        return Reading(Progress.READY)


class ClusterObserver:
    """Reads the InferenceService of a cluster; it never writes there.

    Args:
        cluster: to read from.
        settings: where the InferenceService and KServe are.
        name: of the InferenceService.
    """

    def __init__(self, cluster: Cluster, settings: KServeTargetConfig, name: str) -> None:
        self._cluster = cluster
        self._settings = settings
        group = "serving.kserve.io/v1beta1"
        self._resource = Resource(group, "inferenceservices", settings.namespace)
        self._name = name

    @classmethod
    def of(cls, settings: KServeTargetConfig, name: str) -> ClusterObserver:
        """Return the observer of the configured cluster.

        Raises:
            ServingError: there is no way to a cluster.
        """
        return cls(Cluster.connect(settings), settings, settings.name or name)

    def preflight(self, mode: Mode) -> None:
        """Look at the installed KServe, as the KServe target does."""
        service = self._cluster.get(self._resource, self._name)
        installed = inspect(self._cluster, self._settings, service)
        if installed.mode is not mode:
            raise RolloutError(
                f"Git says that {self._name} is deployed as {mode}, the cluster deploys it as "
                f"{installed.mode}: the canary would be ignored",
                "the mode of an InferenceService can't be changed; say in Git what it is",
            )

    def candidate(self, shares: Shares, mode: Mode) -> Reading:
        """Return whether the candidate is ready and has its share."""
        service = self._cluster.get(self._resource, self._name)
        if waits := self._unsynced(service, shares, mode):
            return waits
        if service is None or shares.candidate is None:
            raise ValueError("there is no candidate to look at")
        return status.canary(service, mode, shares.candidate.version, shares.percent)

    def stable(self, shares: Shares, mode: Mode) -> Reading:
        """Return whether the stable arm is ready and, without a candidate, has everybody."""
        service = self._cluster.get(self._resource, self._name)
        if waits := self._unsynced(service, shares, mode):
            return waits
        if service is None or shares.stable is None:
            raise ValueError("there is no stable arm to look at")
        if shares.candidate is None:
            left = status.rolled_back(service, mode)
            if left.progress is not Progress.READY:
                return left
            return status.promoted(service, mode, shares.stable.version)
        return status.stable(service, mode)

    def _unsynced(
        self, service: dict[str, Any] | None, shares: Shares, mode: Mode
    ) -> Reading | None:
        """Say what the InferenceService has not got of a commit yet; None if it has it all."""
        if service is None:
            return _waits(f"the cluster has no InferenceService {self._name} yet")
        spec = service["spec"]
        ours = shares.candidate if mode is Mode.KNATIVE and shares.candidate else shares.stable
        serves = version_of(spec["predictor"], self._name)
        if ours and serves != ours.version:
            return _waits(f"the predictor is {serves or 'none of ours'}, not {ours.version}")
        if mode is Mode.KNATIVE:
            wanted = min(shares.percent, KNATIVE_MOST) if shares.candidate else None
            wanted = 0 if shares.rolled_back and not shares.candidate else wanted
            has = spec["predictor"].get("canaryTrafficPercent")
            told = f"canaryTrafficPercent is {has}, not {wanted}"
            return None if has == wanted else _waits(told)
        canaries = {
            version_of(canary["predictor"], self._name): canary.get("trafficPercent", 0)
            for canary in spec.get("canary") or []
        }
        wants = {shares.candidate.version: shares.percent} if shares.candidate else {}
        return None if canaries == wants else _waits(f"its canary is {canaries}, not {wants}")


def _waits(told: str) -> Reading:
    return Reading(Progress.PROGRESSING, f"the commit has not arrived: {told}", reported=False)
