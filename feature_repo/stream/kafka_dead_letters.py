"""A Kafka topic for rejected events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from feature_repo.stream.kafka_settings import producer_settings
from recommender.errors import StorageError

_WAIT_S = 30.0


class DeadLetterTopic:
    """Rejected events as they came, in a topic; headers say why and where from.

    Args:
        connected: from `kafka_settings.connection`.
        topic: that takes them.
    """

    def __init__(self, connected: Mapping[str, Any], topic: str) -> None:
        from confluent_kafka import Producer

        self.topic = topic
        self._producer = Producer(producer_settings(connected))
        self._failed = ""

    def put(self, value: bytes, reason: str, origin: dict[str, Any]) -> None:
        """Take one rejected event; see `DeadLetters`."""
        headers = {"reason": reason, "origin": json.dumps(origin)}
        encoded: dict[str, str | bytes | None] = {
            name: text.encode("utf-8", "replace") for name, text in headers.items()
        }
        try:
            self._producer.produce(
                self.topic, value=value, headers=encoded, on_delivery=self._delivered
            )
        except BufferError:
            self.flush()
            self.put(value, reason, origin)

    def flush(self) -> None:
        """Wait until the brokers have them; see `DeadLetters`."""
        left = self._producer.flush(_WAIT_S)
        failed, self._failed = self._failed, ""
        if left or failed:
            raise StorageError(
                f"{left or 'some'} rejected events did not reach the topic {self.topic}: "
                f"{failed or f'no answer within {_WAIT_S:.0f} s'}",
                "does the topic exist, and may this client write to it?",
            )

    def _delivered(self, error: Any, message: Any) -> None:
        del message
        if error is not None:
            self._failed = str(error)
