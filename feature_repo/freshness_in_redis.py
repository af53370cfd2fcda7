"""Records of freshness in the Redis that holds the features: one hash per project."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from recommender.errors import FeatureError

_WAIT_S = 5.0


class RedisPlace:
    """The records of one project, in the hash `ostinato:freshness:<project>`.

    Args:
        connection: as Feast writes it: `host:6379,db=0,password=…`; it is in no message.
        project: Feast project.
    """

    def __init__(self, connection: str, project: str) -> None:
        self._client = _client(connection)
        self._key = f"ostinato:freshness:{project}"

    def read(self) -> dict[str, Any]:
        """Return every record by view, and the stream's under `stream`.

        Raises:
            FeatureError: Redis can't be asked.
        """
        with _speaking_plainly():
            return {
                name.decode(): json.loads(text)
                for name, text in self._client.hgetall(self._key).items()
            }

    def write(self, records: Mapping[str, Any]) -> None:
        """Replace the records of some views, all at once; the others stay.

        Raises:
            FeatureError: Redis can't be asked.
        """
        texts = {name: json.dumps(each, sort_keys=True) for name, each in records.items()}
        if texts:
            with _speaking_plainly():
                self._client.hset(self._key, mapping=texts)


def _client(connection: str) -> Any:
    """Return a client for a connection string in Feast's notation."""
    import redis

    nodes = [part for part in connection.split(",") if "=" not in part]
    given = dict(part.split("=", 1) for part in connection.split(",") if "=" in part)
    options: dict[str, Any] = {name: _value(text) for name, text in given.items()}
    host, _, port = nodes[0].partition(":")
    kind = redis.Redis if len(nodes) == 1 else redis.RedisCluster
    return kind(
        host=host, port=int(port), socket_timeout=_WAIT_S, socket_connect_timeout=_WAIT_S, **options
    )


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if text.isdigit() else text


@contextmanager
def _speaking_plainly() -> Iterator[None]:
    import redis

    try:
        yield
    except redis.RedisError as error:
        raise FeatureError(
            f"Redis can't be asked how fresh the features are: {error}",
            "is the server of OSTINATO_REDIS up, and can it be reached from here?",
        ) from error
