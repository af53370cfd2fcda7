"""The rollout target of a cluster: one InferenceService, whose canary gets a share of its traffic.

The whole state is in the InferenceService, and each change of it is one patch: a canary with no
traffic, a share, promotion, rollback. So a rollout that was killed finds what it had done, and
there is nothing half done to find. A canary carries the name of whoever drives it; nobody touches
another one's. Nothing is ever deleted.

There is no lane beside the live traffic: the Gateway splits the requests of everybody, so a
candidate is judged by the live traffic (`rollout.traffic: live`).
"""

from __future__ import annotations

import logging
import time
from typing import Any

from recommender.config import Config
from recommender.errors import RolloutError, ServingError
from serving.rollout.kserve import patches, preflight, status
from serving.rollout.kserve.client import Cluster, Resource
from serving.rollout.kserve.owner import owner_of
from serving.rollout.kserve.preflight import Installed
from serving.rollout.kserve.situation import Mode, Situation, situation
from serving.rollout.kserve.status import Progress, Reading
from serving.rollout.kserve.versions import Catalogue, Places
from serving.rollout.kserve.waiting import Service, Waiting
from serving.rollout.target import CandidateError

logger = logging.getLogger(__name__)


class KServeTarget:
    """Serves models by an InferenceService.

    Args:
        config: of the data set.
        places: where the models are.
        cluster: that serves them.
        owner: who drives the rollout; the same after a kill.
        project: Feast project that histories come from.
    """

    def __init__(
        self, config: Config, places: Places, cluster: Cluster, owner: str, project: str
    ) -> None:
        self._settings = config.rollout.targets.kserve
        self._cluster = cluster
        self._owner = owner
        self._name = self._settings.name or config.serving.name
        namespace = self._settings.namespace
        self._services = Resource("serving.kserve.io/v1beta1", "inferenceservices", namespace)
        self._versions = Catalogue(config, places, cluster, self._name, project)
        self._waiting = Waiting(
            self._name, self._read, self._settings.timeout_s, self._settings.poll_s
        )
        self._known: Installed | None = None
        self._unready_since: float | None = None

    @classmethod
    def of(cls, config: Config, registry: Places) -> KServeTarget:
        """Return the target that the configuration names.

        Raises:
            ServingError: there is no way to the cluster.
        """
        from feature_repo.locations import project_name

        cluster = Cluster.connect(config.rollout.targets.kserve)
        owner = owner_of(config.paths.serving / "rollouts")
        return cls(config, registry, cluster, owner, project_name(config, "live"))

    @property
    def url(self) -> str:
        """Base URL that requests reach the InferenceService at; "" while its status names none."""
        service = None if self._settings.url else self._read()
        url = self._settings.url or ((service or {}).get("status") or {}).get("url")
        return str(url or "").rstrip("/")

    def live(self) -> str | None:
        """Return the version that everybody gets apart from a canary, or None if nobody gets any.

        Raises:
            RolloutError: what is served is none of our versions, or not for us to change.
        """
        service = self._read()
        return None if service is None else self._live(service)

    def start_stable(self, version: str) -> None:
        """Make sure that the stable predictor is of that version, and ready."""
        live = self.live()
        if live != version:
            raise ServingError(f"{self._name} serves {live or 'nothing'}, not {version}")
        self._wait_for_stable(version)

    def start_candidate(self, version: str) -> None:
        """Make sure that the candidate is there and ready; a new one gets no traffic."""
        preflight.require_short(self._name, version)
        there = self._read()
        wanted = self._versions.wanted(version, self._installed(there).mode)
        self._versions.require_runtime(version)
        if there is None:
            self._cluster.create(self._services, wanted)
        after = self._cluster.change(
            self._services, self._name, lambda service: self._started(service, version, wanted)
        )
        seen = self._situation(after)
        if seen.live == version:
            self._wait_for_stable(version)
        else:
            self._wait_for_canary(version, seen.percent)

    def prepare(self, version: str) -> None:
        """Make sure that a version is ready to be what everybody gets; nobody gets it by that."""
        self.start_candidate(version)

    def set_weight(self, percent: int) -> None:
        """Give the canary a share of the live traffic, and wait until it has it.

        The last `settle_s` of it are for the Gateway, which says nothing of when it has followed.
        In Knative mode 100 means 99 (`patches.KNATIVE_MOST`).
        """

        def ramped(service: Service) -> dict[str, Any] | None:
            if self._situation(service).canary_of(self._owner) is None:
                raise RolloutError(f"the canary of {self._name} has been taken away")
            mode = self._installed(service).mode
            return patches.ramp(service, mode, percent, least=self._settings.min_replicas)

        after = self._cluster.change(self._services, self._name, ramped)
        version = self._situation(after).canary or ""
        self._wait_for_canary(version, percent)
        # After a kill, too: it may have been in this very pause.
        time.sleep(self._settings.settle_s)

    def check(self) -> None:
        """Look at both arms once.

        Raises:
            CandidateError: the canary has failed, or has not been ready for `unready_s`.
            RolloutError: somebody has taken the canary away.
            ServingError: the stable predictor has failed.
        """
        service = self._read()
        seen = None if service is None else self._situation(service)
        version = None if seen is None else seen.canary_of(self._owner)
        if service is None or seen is None or version is None:
            raise RolloutError(f"somebody has taken the canary of {self._name} away")
        mode = self._installed(service).mode
        stable = status.stable(service, mode)
        if stable.progress is Progress.FAILED:
            raise ServingError(f"the stable arm {seen.live} has failed: {stable.reason}")
        reading = status.canary(service, mode, version, seen.percent)
        if reading.progress is Progress.FAILED:
            raise CandidateError(f"the canary {version} has failed: {reading.reason}")
        if reading.progress is Progress.READY:
            self._unready_since = None
            return
        now = time.monotonic()
        since = self._unready_since = self._unready_since or now
        if now - since >= self._settings.unready_s:
            raise CandidateError(
                f"the canary {version} has not been ready for {now - since:.0f} s: {reading.reason}"
            )

    def promote(self, version: str) -> None:
        """Make a prepared version the stable predictor, by one patch, and wait until it is.

        Raises:
            CandidateError: it has failed in the meantime.
            RolloutError: it has not been prepared, or another rollout's canary is there.
            ServingError: the controller does not carry it out.
        """
        after = self._cluster.change(
            self._services, self._name, lambda service: self._promoted(service, version)
        )
        mode = self._installed(after).mode
        self._waiting.carried_out(
            lambda service: status.promoted(service, mode, version), f"the promotion of {version}"
        )
        self._unready_since = None

    def rollback(self) -> None:
        """Take our canary away, by one patch; another rollout's stays.

        Raises:
            ServingError: the controller does not carry it out.
        """
        if self._read() is None:
            return

        def rolled_back(service: Service) -> dict[str, Any] | None:
            seen = self._situation(service)
            if not seen.present or seen.owner != self._owner:
                return None
            return patches.rollback(service, self._installed(service).mode)

        after = self._cluster.change(self._services, self._name, rolled_back)
        seen = self._situation(after)
        if seen.present:
            logger.warning("the canary %s of another rollout is left as it is", seen.canary)
            return
        mode = self._installed(after).mode
        self._waiting.carried_out(lambda service: status.rolled_back(service, mode), "the rollback")
        self._unready_since = None

    def _started(self, service: Service, version: str, wanted: Service) -> dict[str, Any] | None:
        """Return the patch that puts the canary there; None if it is, or is what everybody gets."""
        seen = self._situation(service)
        canary = seen.canary_of(self._owner)
        live = self._live(service)
        mode = self._installed(service).mode
        if version == live:
            return None
        if version == canary:
            predictor = service["spec"]["predictor"]
            if mode is Mode.STANDARD:
                predictor = service["spec"]["canary"][0]["predictor"]
            self._versions.require_place(version, predictor)
            return None
        return patches.start(
            service,
            mode,
            wanted["spec"]["predictor"],
            owner=self._owner,
            live=live,
            least=self._settings.min_replicas,
        )

    def _promoted(self, service: Service, version: str) -> dict[str, Any] | None:
        """Return the patch that gives the version to everybody; None if they have it."""
        seen = self._situation(service)
        mode = self._installed(service).mode
        if seen.live == version:
            ours = seen.present and seen.owner == self._owner
            return patches.rollback(service, mode) if ours else None
        if seen.canary_of(self._owner) != version:
            raise RolloutError(f"{version} has not been prepared, so nobody can be served by it")
        reading = status.canary(service, mode, version, seen.percent)
        if reading.progress is Progress.FAILED:
            raise CandidateError(f"the canary {version} has failed: {reading.reason}")
        return patches.promote(service, mode)

    def _live(self, service: Service) -> str:
        seen = self._situation(service)
        if seen.live is None:
            seen.canary_of(self._owner)
            raise RolloutError(
                f"what {self._name} serves is none of our versions: its runtime is not called "
                f"{self._name}-<version>",
                "apply the manifest of a version first, or set rollout.targets.kserve.name",
            )
        return seen.live

    def _read(self) -> Service | None:
        return self._cluster.get(self._services, self._name)

    def _situation(self, service: Service) -> Situation:
        return situation(service, self._installed(service).mode)

    def _installed(self, service: Service | None) -> Installed:
        """Return what the cluster can do; looked at once."""
        if self._known is None:
            self._known = preflight.inspect(self._cluster, self._settings, service)
        return self._known

    def _wait_for_stable(self, version: str) -> None:
        mode = self._installed(None).mode
        reading = self._waiting.result(lambda service: status.stable(service, mode))
        if reading.progress is not Progress.READY:
            raise ServingError(f"{version} is not ready: {self._waiting.late(reading)}")

    def _wait_for_canary(self, version: str, percent: int) -> None:
        """Wait until the canary is ready and has its share.

        Raises:
            CandidateError: it has failed, or isn't ready in time.
            ServingError: the controller says nothing about it.
        """
        mode = self._installed(None).mode

        def read(service: Service) -> Reading:
            if situation(service, mode).canary_of(self._owner) != version:
                raise RolloutError(f"somebody has taken the canary {version} away")
            return status.canary(service, mode, version, percent)

        reading = self._waiting.result(read)
        if reading.progress is Progress.READY:
            self._unready_since = None
            return
        told = f"the canary {version} is not ready: {self._waiting.late(reading)}"
        raise CandidateError(told) if reading.reported else ServingError(told)
