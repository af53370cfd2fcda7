"""What a version of ours is on a cluster: a ServingRuntime (code) and a predictor (weights).

Both are immutable: the runtime has its image by digest, and `storageUri` is the registry's place of
the version. So a canary never changes what another version runs.
"""

from __future__ import annotations

from typing import Any, Protocol

from recommender.config import Config
from recommender.errors import RolloutError
from serving.inference_service import IMAGE, manifests
from serving.rollout.kserve.client import Cluster, Resource
from serving.rollout.kserve.preflight import MODE
from serving.rollout.kserve.situation import Mode

_VERSION = "app.kubernetes.io/version"


class Places(Protocol):
    """Where models are. `recommender.registry.Registry` is one."""

    def uri(self, version: str) -> str:
        """Return the immutable place of a version, as `storageUri` names it."""
        ...


class Catalogue:
    """The versions of one InferenceService.

    Args:
        config: of the data set.
        places: where the models are.
        cluster: that serves them.
        name: of the InferenceService.
        project: Feast project that histories come from.
    """

    def __init__(
        self, config: Config, places: Places, cluster: Cluster, name: str, project: str
    ) -> None:
        self._config = config
        self._settings = config.rollout.targets.kserve
        self._places = places
        self._cluster = cluster
        self._name = name
        self._project = project
        self._runtimes = Resource(
            "serving.kserve.io/v1alpha1", "servingruntimes", self._settings.namespace
        )

    def wanted(self, version: str, mode: Mode) -> dict[str, Any]:
        """Return the InferenceService that serves a version and nothing else.

        Args:
            version: in the registry.
            mode: how it is deployed.

        Raises:
            RolloutError: no cluster can read the model from where it is.
            ServingError: the image is not given by digest.
        """
        service = self._manifests(version)[1]
        service["metadata"]["annotations"][MODE] = mode.value.capitalize()
        predictor = service["spec"]["predictor"]
        # What is on the InferenceService is on the pods of both arms, and changing it restarts
        # them; what is on the predictor is on its own pods only, and goes along with them.
        predictor["labels"] = {_VERSION: service["metadata"]["labels"].pop(_VERSION)}
        if mode is Mode.KNATIVE:
            del predictor["name"]
        return service

    def require_runtime(self, version: str) -> None:
        """Make sure that a version's code is there, and is what the settings say.

        Raises:
            RolloutError: it is missing, or is another image.
            ServingError: the cluster can't be asked.
        """
        name, image = f"{self._name}-{version}", self._settings.image
        there = self._cluster.get(self._runtimes, name)
        if there is None and image:
            self._cluster.create(self._runtimes, self._manifests(version)[0])
            return
        if there is None:
            raise RolloutError(
                f"there is no ServingRuntime {name} in {self._settings.namespace}",
                "apply the manifest of the version, or set rollout.targets.kserve.image",
            )
        images = {container.get("image") for container in there["spec"]["containers"]}
        if image and image not in images:
            raise RolloutError(
                f"the runtime of {version} has another image: {', '.join(map(str, images))}, "
                f"not {image}; the code of a version never changes",
                "register the model anew, or leave rollout.targets.kserve.image empty",
            )

    def require_place(self, version: str, predictor: dict[str, Any]) -> None:
        """Make sure that a predictor has a version's own weights.

        Raises:
            RolloutError: they are from another place.
        """
        there, place = predictor.get("model", {}).get("storageUri"), self._place(version)
        if there != place:
            raise RolloutError(f"the canary {version} is served from {there}, not from {place}")

    def _place(self, version: str) -> str:
        place = self._places.uri(version)
        if place.startswith("file:"):
            raise RolloutError(
                f"{version} is at {place}, which no cluster can read",
                "keep the registry on S3",
            )
        return place

    def _manifests(self, version: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the runtime and the InferenceService of a version, under our name."""
        image = self._settings.image or IMAGE
        place = self._place(version)
        runtime, service = manifests(self._config, version, place, self._project, image)
        for document in (runtime, service):
            document["metadata"]["namespace"] = self._settings.namespace
        service["metadata"]["name"] = self._name
        runtime["metadata"]["name"] = f"{self._name}-{version}"
        service["spec"]["predictor"]["model"]["runtime"] = runtime["metadata"]["name"]
        return runtime, service
