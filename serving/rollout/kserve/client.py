"""Asks a Kubernetes API server, with retries, and never writes over what somebody else changed.

Every change is a JSON merge patch with `fieldValidation=Strict` (a misspelt field is refused, not
dropped) and with the `resourceVersion` of what was read (a stale one is refused with 409). After a
conflict, and after an answer that never came, the object is read again and the change is worked
out anew: it may have been made already, or may no longer be right.

The requests go through `ApiClient`: the generated methods choose the kind of patch by the version
of the client, and `KServeClient.patch` drops every None, so it can remove nothing.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from feature_repo.stream.retry import pause_s
from recommender.errors import RolloutError, ServingError
from serving.rollout.kserve.refusals import ConflictError, PassingError, refusal

T = TypeVar("T")

logger = logging.getLogger(__name__)

_IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_NOT_FOUND = 404


@dataclass(frozen=True)
class Resource:
    """One kind of object, in one namespace or in none.

    Attributes:
        group: of the API, with its version (`serving.kserve.io/v1beta1`); `v1` is the core.
        plural: as in the path.
        namespace: "" for objects of the whole cluster.
    """

    group: str
    plural: str
    namespace: str = ""

    def path(self, name: str = "") -> str:
        """Return the path of one object, or of all of them."""
        root = f"/apis/{self.group}" if "/" in self.group else f"/api/{self.group}"
        middle = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{root}{middle}/{self.plural}" + (f"/{name}" if name else "")


class Access(Protocol):
    """How a cluster is reached."""

    @property
    def kubeconfig(self) -> str:
        """File; "" for the pod's service account, or kubectl's own file."""

    @property
    def context(self) -> str:
        """Of the kubeconfig; "" for its current one."""

    @property
    def request_timeout_s(self) -> float:
        """Longest wait for one answer."""

    @property
    def retry_s(self) -> float:
        """How long to try again before giving up."""


class Cluster:
    """An API server.

    Args:
        api: a `kubernetes.client.ApiClient`.
        request_timeout_s: longest wait for one answer.
        retry_s: how long to try again before giving up.
        rights: says where the rights are listed that are needed.
    """

    def __init__(
        self,
        api: Any,
        request_timeout_s: float,
        retry_s: float,
        rights: str = "docs/rollout-kserve.md lists the rights that a rollout needs",
    ) -> None:
        self._api = api
        self._rights = rights
        self._timeout_s = request_timeout_s
        self._retry_s = retry_s

    @classmethod
    def connect(cls, settings: Access, key: str = "rollout.targets.kserve", **more: str) -> Cluster:
        """Return the cluster that a pod is in, or that a kubeconfig names.

        Args:
            settings: how it is reached.
            key: of these settings in the configuration, for messages.
            more: as for the class.

        Raises:
            ServingError: neither is there, or the kubeconfig can't be read.
        """
        from kubernetes import client, config

        configuration = client.Configuration()
        try:
            if _IN_POD.exists() and not settings.kubeconfig and not settings.context:
                config.load_incluster_config(configuration)
            else:
                config.load_kube_config(
                    config_file=settings.kubeconfig or None,
                    context=settings.context or None,
                    client_configuration=configuration,
                    persist_config=False,
                )
        except (config.ConfigException, OSError) as error:
            raise ServingError(
                f"no way to the cluster: {error}",
                f"set {key}.kubeconfig, or run in a pod with a service account",
            ) from error
        configuration.retries = 0  # one place retries: here
        api = client.ApiClient(configuration)
        return cls(api, settings.request_timeout_s, settings.retry_s, **more)

    def get(self, resource: Resource, name: str) -> dict[str, Any] | None:
        """Return an object, or None if there is none.

        Raises:
            ServingError: the API server can't be asked.
        """
        return self._retried(lambda: self._ask("GET", resource, name))

    def create(self, resource: Resource, body: Mapping[str, Any]) -> bool:
        """Create an object unless one of its name exists.

        Returns:
            whether it was created by this call.

        Raises:
            ServingError: the API server can't be asked.
            RolloutError: it refuses the object.
        """

        def create() -> bool:
            try:
                self._ask("POST", resource, body=body)
            except ConflictError:
                return False
            return True

        return self._retried(create)

    def change(
        self,
        resource: Resource,
        name: str,
        intent: Callable[[dict[str, Any]], dict[str, Any] | None],
    ) -> dict[str, Any]:
        """Change an object.

        Args:
            resource: its kind.
            name: of the object.
            intent: is given the object as it is, and returns a merge patch, or None if nothing is
                left to do. It is asked again after every conflict; what it raises ends the change.

        Returns:
            the object after the change.

        Raises:
            ServingError: the API server can't be asked, or others change the object all the time.
            RolloutError: it refuses the change, or there is no such object.
        """

        def change() -> dict[str, Any]:
            before = self._ask("GET", resource, name)
            if before is None:
                raise RolloutError(f"there is no {resource.plural}/{name} in {resource.namespace}")
            patch = intent(before)
            if patch is None:
                return before
            guard = {"resourceVersion": before["metadata"]["resourceVersion"]}
            body = {**patch, "metadata": {**patch.get("metadata", {}), **guard}}
            after = self._ask("PATCH", resource, name, body)
            if after is None:
                raise ConflictError(
                    f"{resource.plural}/{name} was deleted while it was being changed"
                )
            logger.info("patched %s/%s: %s", resource.plural, name, json.dumps(patch))
            return after

        return self._retried(change)

    def delete(self, resource: Resource, name: str) -> bool:
        """Delete an object and what it owns; return whether there was one.

        Raises:
            ServingError: the API server can't be asked.
        """
        return self._retried(lambda: self._ask("DELETE", resource, name)) is not None

    def _retried(self, action: Callable[[], T]) -> T:
        """Call an action until it succeeds, is refused, or `retry_s` are over."""
        deadline = time.monotonic() + self._retry_s
        attempt = 0
        while True:
            try:
                return action()
            except PassingError as error:
                left = deadline - time.monotonic()
                if left <= 0:
                    tried = f"{error.message} ({attempt + 1} attempts in {self._retry_s:g} s)"
                    raise ServingError(tried, error.hint) from error
                wait = min(max(pause_s(attempt), error.wait_s), left)
                attempt += 1
                logger.warning(
                    "attempt %d failed, next in %.1f s: %s", attempt, wait, error.message
                )
                time.sleep(wait)

    def _ask(
        self, method: str, resource: Resource, name: str = "", body: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Ask once; return None where there is no such object."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "application/json"}
        if body is not None:
            kind = "merge-patch+json" if method == "PATCH" else "json"
            headers["Content-Type"] = f"application/{kind}"
        query = [("fieldValidation", "Strict")] if method in ("POST", "PATCH") else []
        what = f"{method} {resource.plural}{f'/{name}' if name else ''}"
        try:
            answer: dict[str, Any] = self._api.call_api(
                resource.path(name),
                method,
                {},
                query,
                headers,
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=(self._timeout_s, self._timeout_s),
            )
        except ApiException as error:
            if error.status == _NOT_FOUND and method != "POST":
                return None
            raise refusal(what, error, resource.namespace, self._rights) from error
        except HTTPError as error:
            raise PassingError(f"the API server does not answer {what}: {error}") from error
        return answer
