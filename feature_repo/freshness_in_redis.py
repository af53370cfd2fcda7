"""Records of freshness in the Redis that holds the features: one hash per project."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from feature_repo.stores.redis_client import RedisClient

_WAIT_S = 5.0


class RedisPlace:
    """The records of one project, in the hash `ostinato:freshness:<project>`.

    Args:
        connection: as Feast writes it: `host:6379,db=0,password=…`; it is in no message.
        project: Feast project.
        wait_s: longest wait for an answer.
    """

    def __init__(self, connection: str, project: str, wait_s: float = _WAIT_S) -> None:
        self._client = RedisClient(connection, wait_s)
        self._key = f"ostinato:freshness:{project}"

    def read(self) -> dict[str, Any]:
        """Return every record by view, and the stream's under `stream`.

        Raises:
            FeatureError: Redis does not answer, or refuses.
        """
        with self._client.speaking_plainly():
            held = self._client.redis.hgetall(self._key)
        return {name.decode(): json.loads(text) for name, text in held.items()}

    def write(self, records: Mapping[str, Any]) -> None:
        """Replace the records of some views, all at once; the others stay.

        Raises:
            FeatureError: Redis does not answer, or refuses.
        """
        texts = {name: json.dumps(each, sort_keys=True) for name, each in records.items()}
        if texts:
            with self._client.speaking_plainly():
                self._client.redis.hset(self._key, mapping=texts)

    def remove(self, views: Collection[str]) -> None:
        """Remove the records of some views.

        Raises:
            FeatureError: Redis does not answer, or refuses.
        """
        if views:
            with self._client.speaking_plainly():
                self._client.redis.hdel(self._key, *views)
