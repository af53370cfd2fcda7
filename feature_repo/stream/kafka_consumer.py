"""Events from Kafka, at least once: offsets are committed after the effects of their events.

A crash at any point leaves offsets uncommitted: the events come again and change nothing the
second time. While a store can't be reached the partitions are paused and the group is kept alive.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Any

from feature_repo.stream.cloud_events import read_cloud_events
from feature_repo.stream.dead_letters import DeadLetters
from feature_repo.stream.event import RejectedEventError, StreamEvent, read_event
from feature_repo.stream.retry import retried
from feature_repo.stream.working import Worker
from recommender.config.stream import StreamConfig
from recommender.errors import FeatureError

_IDLE_S = 0.5
_STRUCTURED = {"content-type": "application/cloudevents+json"}

logger = logging.getLogger("ostinato.stream")


class _StoppedError(Exception):
    """Somebody asked us to end while a store could not be reached."""


class KafkaEvents:
    """One member of a consumer group.

    Args:
        settings: from `kafka_settings.consumer_settings`.
        topic: with one JSON object per message: the fields of an event, or a CloudEvent.
        worker: applies the events.
        dead_letters: take what is rejected.
        stream: sizes and waits.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        topic: str,
        worker: Worker,
        dead_letters: DeadLetters,
        stream: StreamConfig,
    ) -> None:
        from confluent_kafka import Consumer

        self._consumer = Consumer(settings, logger=logger)
        self._topic = topic
        self._worker = worker
        self._dead_letters = dead_letters
        self._stream = stream
        self._stopping = False
        self._paused = False
        self._early: list[Any] = []

    def stop(self) -> None:
        """Ask `run` to end after the batch that is under way; may be called by a signal."""
        self._stopping = True

    def run(self) -> None:
        """Consume until `stop` is called; then leave the group.

        Raises:
            FeatureError, StorageError: a store could not be reached for `retry_s`, or Kafka can't
                be used any more. What was not committed will come again.
        """
        self._consumer.subscribe(
            [self._topic], on_assign=self._assigned, on_revoke=_revoked, on_lost=_revoked
        )
        try:
            while not self._stopping:
                messages = self._gathered()
                if messages:
                    self._handle(messages)
        except _StoppedError:
            logger.warning("ended while a store could not be reached; nothing was acknowledged")
        finally:
            self._consumer.close()
            self._worker.close()

    def _gathered(self) -> list[Any]:
        """Return the next messages: as many as there are within the lingering, up to a batch."""
        found, self._early = self._early, []
        if not found:
            first = self._consumer.poll(_IDLE_S)
            found = [] if first is None else [first]
        if found and len(found) < self._stream.batch_size:
            more = self._stream.batch_size - len(found)
            found += self._consumer.consume(more, self._stream.linger_ms / 1000)
        return [message for message in found if not _failed(message)]

    def _handle(self, messages: Sequence[Any]) -> None:
        events: list[StreamEvent] = []
        for message in messages:
            try:
                events.append(self._read(message))
            except RejectedEventError as error:
                self._reject(message, error)
        if events:
            self._worker.apply(events, self._stream.retry_s, self._pause)
        retried(self._dead_letters.flush, self._stream.retry_s, self._pause)
        self._commit(messages)

    def _read(self, message: Any) -> StreamEvent:
        sink = self._worker.sink
        value = message.value()
        if not value:
            raise RejectedEventError("value", value, "an empty message")
        try:
            fields = json.loads(value)
        except (ValueError, RecursionError):
            raise RejectedEventError("value", value[:80], "not JSON") from None
        if isinstance(fields, dict) and "specversion" in fields:
            (fields,) = read_cloud_events(_STRUCTURED, value)
        return read_event(fields, sink.rules, sink.clock())

    def _reject(self, message: Any, error: RejectedEventError) -> None:
        origin = {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
        }
        # Without the value: it may hold a person's id, and this line is a log's.
        logger.warning("rejected an event of %s because of its %s", origin, error.field)
        self._worker.metrics.rejected()
        self._dead_letters.put(message.value() or b"", error.message, origin)

    def _commit(self, messages: Sequence[Any]) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        ours = {(each.topic, each.partition) for each in self._consumer.assignment()}
        next_offsets: dict[tuple[str, int], int] = {}
        for message in messages:
            place = (message.topic(), message.partition())
            next_offsets[place] = max(next_offsets.get(place, 0), message.offset() + 1)
        offsets = [
            TopicPartition(topic, partition, offset)
            for (topic, partition), offset in next_offsets.items()
            if (topic, partition) in ours
        ]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # The partition moved on, or the brokers are away. The events come again, to us or to
            # another member, and change nothing.
            logger.warning("offsets were not committed: %s", error)

    def _pause(self, seconds: float) -> None:
        """Wait without being thrown out of the group, and without taking more messages."""
        self._consumer.pause(self._consumer.assignment())
        self._paused = True
        try:
            ends = time.monotonic() + seconds
            while (left := ends - time.monotonic()) > 0:
                if self._stopping:
                    raise _StoppedError
                message = self._consumer.poll(min(left, _IDLE_S))
                if message is not None:
                    self._early.append(message)
        finally:
            self._paused = False
            self._consumer.resume(self._consumer.assignment())

    def _assigned(self, consumer: Any, partitions: Sequence[Any]) -> None:
        logger.info("assigned: %s", _named(partitions))
        if self._paused:
            consumer.pause(partitions)


def _revoked(consumer: Any, partitions: Sequence[Any]) -> None:
    # Nothing is under way while callbacks run: what was handled is committed.
    del consumer
    logger.info("revoked: %s", _named(partitions))


def _named(partitions: Sequence[Any]) -> str:
    return ", ".join(f"{each.topic}[{each.partition}]" for each in partitions) or "nothing"


def _failed(message: Any) -> bool:
    """Tell whether a message is the news of an error, and say it.

    Raises:
        FeatureError: the client can't go on.
    """
    error = message.error()
    if error is None:
        return False
    if error.fatal():
        raise FeatureError(f"Kafka can't be used any more: {error}", "start this consumer again")
    logger.warning("Kafka says: %s", error)
    return True
