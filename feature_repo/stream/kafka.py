"""Receive events from a Kafka topic, land them, and update the online sequences.

One JSON object per message: event_id, user_id, item_id, event, time (UTC milliseconds, or ISO 8601
with a zone), and value, surface, position, propensity where there are such; or a CloudEvent with
these as its data. Offsets are committed after the effects, so every event arrives at least once
and counts once. What is wrong goes to the dead letters and is counted. Start several with the same
group to share the partitions; key messages by user_id to keep their rows apart. SIGTERM ends it
after the batch that is under way.

Brokers and credentials are librdkafka's settings, from the environment:

  export OSTINATO_KAFKA_BOOTSTRAP_SERVERS=broker:9092
  export OSTINATO_KAFKA_SECURITY_PROTOCOL=SASL_SSL OSTINATO_KAFKA_SASL_PASSWORD=…
  python -m feature_repo.stream.kafka configs/synthetic.yaml --topic events
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from recommender.config import Config, load
from recommender.errors import UserError


def consume(
    config: Config,
    topic: str,
    group: str = "",
    dead_letter_topic: str = "",
    metrics_port: int = 0,
) -> None:
    """Consume until SIGTERM or SIGINT.

    Args:
        config: of the data set; its live project gets the events.
        topic: that holds the events.
        group: consumer group; default `ostinato-<name>`.
        dead_letter_topic: takes rejected events; by default a file of the workspace does.
        metrics_port: of the Prometheus figures; 0 shows none.

    Raises:
        ConfigError: the environment is wrong.
        FeatureError, StorageError: a store could not be reached for `features.stream.retry_s`.
    """
    from feature_repo.stream.dead_letters import DeadLetterFile
    from feature_repo.stream.kafka_consumer import KafkaEvents
    from feature_repo.stream.kafka_dead_letters import DeadLetterTopic
    from feature_repo.stream.kafka_settings import connection, consumer_settings
    from feature_repo.stream.metrics import StreamMetrics
    from feature_repo.stream.opening import dead_letter_path, open_sink
    from feature_repo.stream.working import Worker

    connected = connection()
    stream = config.features.stream
    metrics = StreamMetrics("kafka")
    if metrics_port:
        from prometheus_client import start_http_server

        start_http_server(metrics_port, registry=metrics.registry)
    events = KafkaEvents(
        consumer_settings(connected, group or f"ostinato-{config.name}"),
        topic,
        Worker(open_sink(config), metrics, stream.compact_files),
        DeadLetterTopic(connected, dead_letter_topic)
        if dead_letter_topic
        else DeadLetterFile(dead_letter_path(config)),
        stream,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: events.stop())
    events.run()


def main(arguments: list[str] | None = None) -> int:
    """Run the consumer; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m feature_repo.stream.kafka",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="the data set's YAML")
    parser.add_argument("--topic", required=True, help="that holds the events")
    parser.add_argument("--group", default="", help="consumer group (ostinato-<name>)")
    parser.add_argument(
        "--dead-letter-topic", default="", help="takes rejected events (a file of the workspace)"
    )
    parser.add_argument(
        "--metrics-port", type=int, default=0, help="of the Prometheus figures (none)"
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        consume(
            load(given.config),
            given.topic,
            given.group,
            given.dead_letter_topic,
            given.metrics_port,
        )
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
