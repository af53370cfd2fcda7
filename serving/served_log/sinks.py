"""Where served lists and feedback go: Parquet files (a folder, S3) or CloudEvents over HTTP.

A sink is called from one writer thread at a time. It raises where it could not write; whoever
calls it tries again, so that a sink may get the same rows twice.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from recommender.config.served_log import ServedLogConfig
from recommender.errors import StorageError
from recommender.served_store import ServedStore, store_of
from recommender.workspace import Workspace
from serving.feedback.report import Feedback, feedback_event, feedback_table
from serving.served_log.served_list import (
    Failure,
    ServedList,
    cloud_event,
    failed_event,
    failed_table,
    table,
)

if TYPE_CHECKING:
    import httpx

TOKEN_VARIABLE = "OSTINATO_LOG_TOKEN"  # noqa: S105 - the name of a variable
STRUCTURED = "application/cloudevents+json; charset=UTF-8"


class Sink(Protocol):
    """Takes what is logged."""

    def served(self, lists: Sequence[ServedList]) -> None:
        """Write served lists.

        Raises:
            StorageError: they could not all be written.
        """
        ...

    def feedback(self, told: Sequence[Feedback]) -> None:
        """Write feedback.

        Raises:
            StorageError: it could not all be written.
        """
        ...

    def failed(self, failures: Sequence[Failure]) -> None:
        """Write requests that failed.

        Raises:
            StorageError: they could not all be written.
        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class ParquetSink:
    """Files below a folder or an S3 prefix; see `recommender.served_store`.

    Args:
        store: that gets them.
    """

    def __init__(self, store: ServedStore) -> None:
        self._store = store

    def served(self, lists: Sequence[ServedList]) -> None:
        """Write served lists as one file per day; see `Sink.served`."""
        self._store.write("served", table(lists))

    def feedback(self, told: Sequence[Feedback]) -> None:
        """Write feedback as one file per day; see `Sink.feedback`."""
        self._store.write("feedback", feedback_table(told))

    def failed(self, failures: Sequence[Failure]) -> None:
        """Write failed requests as one file per day; see `Sink.failed`."""
        self._store.write("failed", failed_table(failures))

    def close(self) -> None:
        """Do nothing: no file is held open."""


class Nowhere:
    """Takes everything and keeps nothing."""

    def served(self, lists: Sequence[ServedList]) -> None:
        """Forget served lists."""

    def feedback(self, told: Sequence[Feedback]) -> None:
        """Forget feedback."""

    def failed(self, failures: Sequence[Failure]) -> None:
        """Forget failed requests."""

    def close(self) -> None:
        """Do nothing."""


class HttpSink:
    """CloudEvents, one structured JSON event per POST, as brokers and KServe's logger take them.

    Args:
        url: that they are posted to.
        timeout_s: longest wait for an answer.
        token: bearer token, or "".
    """

    def __init__(self, url: str, timeout_s: float, token: str = "") -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._headers = {"content-type": STRUCTURED}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._client: httpx.Client | None = None

    def served(self, lists: Sequence[ServedList]) -> None:
        """Post served lists; see `Sink.served`."""
        self._post([cloud_event(one) for one in lists])

    def feedback(self, told: Sequence[Feedback]) -> None:
        """Post feedback; see `Sink.feedback`."""
        self._post([feedback_event(one) for one in told])

    def failed(self, failures: Sequence[Failure]) -> None:
        """Post failed requests; see `Sink.failed`."""
        self._post([failed_event(one) for one in failures])

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _post(self, events: Sequence[dict[str, Any]]) -> None:
        import httpx
        import orjson

        if self._client is None:
            self._client = httpx.Client(timeout=self._timeout_s)
        try:
            for event in events:
                answer = self._client.post(
                    self._url, content=orjson.dumps(event), headers=self._headers
                )
                answer.raise_for_status()
        except (httpx.HTTPStatusError, httpx.TransportError) as error:
            # Its text may hold the URL, whose query may hold a secret.
            said = (
                f"HTTP {error.response.status_code}"
                if isinstance(error, httpx.HTTPStatusError)
                else type(error).__name__
            )
            raise StorageError(f"the sink of served lists does not take them: {said}") from error


def open_sink(config: ServedLogConfig, paths: Workspace) -> Sink | None:
    """Return the configured sink; None where nothing is logged.

    Args:
        config: of the log.
        paths: the workspace; holds the files unless the config names another place.

    Raises:
        StorageError: the location can't be.
    """
    if config.sink == "none":
        return None
    if config.sink == "http":
        return HttpSink(config.url, config.timeout_s, os.environ.get(TOKEN_VARIABLE, "").strip())
    return ParquetSink(store_of(config, paths))
