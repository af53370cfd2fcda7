"""The client of the pipelines API, and who it speaks as."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.backend.calls import BackendError, Calls
from recommender.config import Config
from recommender.config.backend import BackendConfig

IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"


@dataclass(frozen=True)
class Backend:
    """A connection.

    Attributes:
        client: `kfp.Client`.
        calls: makes the calls.
        config: of the backend.
        namespace: of the user; None where the backend is single-user.
    """

    client: Any
    calls: Calls
    config: BackendConfig
    namespace: str | None


def connect(config: Config) -> Backend:
    """Connect to the backend; it must answer.

    Raises:
        BackendError: it doesn't, or refuses the token.
    """
    import kfp_server_api
    from kfp import Client

    settings, calls = config.backend, Calls(config.backend)
    host = settings.host or IN_CLUSTER
    if not host.startswith(("http://", "https://")):
        raise BackendError(f"backend.host is {host!r}", "give the whole URL: https://…")
    ca_file = settings.ca_file or None
    if ca_file and not Path(ca_file).is_file():
        raise BackendError(f"backend.ca_file {ca_file} does not exist")
    # Kubeflow's own client asks a dead server for half a minute and prints stack traces.
    plain = kfp_server_api.Configuration(host=host.rstrip("/"))
    plain.ssl_ca_cert = ca_file
    api = kfp_server_api.HealthzServiceApi(kfp_server_api.ApiClient(plain))

    limits = (settings.timeout_s, settings.timeout_s)

    def health() -> Any:
        return api.healthz_service_get_healthz(_request_timeout=limits)

    try:
        calls("ask for its health", health)
    except BackendError as error:
        if error.__cause__ is None or getattr(error.__cause__, "status", 0) not in (401, 403):
            raise  # health may be behind the same door as everything else
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client = Client(
            host=host,
            # Another name than the default keeps it from asking for health once more.
            namespace=settings.namespace or "-",
            existing_token=os.environ.get(settings.token_variable) or None,
            credentials=_projected(settings),
            ssl_ca_cert=ca_file,
        )
    client._context_setting["namespace"] = settings.namespace
    _limit(client._run_api.api_client.rest_client, settings.timeout_s)
    return Backend(client, calls, settings, settings.namespace or None)


def _limit(rest: Any, seconds: float) -> None:
    """Give every request a longest wait: the generated client would wait for ever."""
    request = rest.request

    def limited(*words: Any, **named: Any) -> Any:
        named["_request_timeout"] = named.get("_request_timeout") or (seconds, seconds)
        return request(*words, **named)

    rest.request = limited


def _projected(settings: BackendConfig) -> Any:
    """Return the service account's projected token, where there is one and no other is given."""
    from kfp.client import KF_PIPELINES_SA_TOKEN_ENV, KF_PIPELINES_SA_TOKEN_PATH
    from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

    path = os.environ.get(KF_PIPELINES_SA_TOKEN_ENV) or KF_PIPELINES_SA_TOKEN_PATH
    if os.environ.get(settings.token_variable) or not Path(path).is_file():
        return None
    return ServiceAccountTokenVolumeCredentials(path)
