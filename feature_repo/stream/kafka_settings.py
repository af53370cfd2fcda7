"""How the Kafka consumer reaches its brokers: librdkafka's settings, from the environment.

`OSTINATO_KAFKA_BOOTSTRAP_SERVERS` is `bootstrap.servers`, `OSTINATO_KAFKA_SASL_PASSWORD` is
`sasl.password`, and so on for every setting: secrets stay out of files and process lists.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from recommender.errors import ConfigError

PREFIX = "OSTINATO_KAFKA_"

_OURS = {
    "enable.auto.commit": "offsets are committed after the effects of their events",
    "enable.auto.offset.store": "offsets are committed after the effects of their events",
    "group.id": "it is an option of the command",
}


def connection(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the settings that the environment gives for every client.

    Args:
        environment: variables; by default those of this process, now.

    Raises:
        ConfigError: no brokers are named, or a setting isn't a user's to choose. No value is
            repeated.
    """
    given = os.environ if environment is None else environment
    settings = {
        name.removeprefix(PREFIX).lower().replace("_", "."): value
        for name, value in given.items()
        if name.startswith(PREFIX)
    }
    for setting, reason in _OURS.items():
        if setting in settings:
            raise ConfigError(f"{_variable(setting)} can't be set: {reason}")
    if not settings.get("bootstrap.servers", "").strip():
        raise ConfigError(
            f"{_variable('bootstrap.servers')} is not set", "name the brokers: host:9092,host:9092"
        )
    return settings


def consumer_settings(connected: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Return what a consumer needs besides.

    Args:
        connected: from `connection`.
        group: consumer group; its members share the partitions.
    """
    return {
        "auto.offset.reset": "earliest",
        **connected,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": False,
    }


def producer_settings(connected: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a producer needs besides, of the settings that are for every client."""
    consumers_only = ("auto.offset.", "session.", "max.poll.", "fetch.", "partition.assignment.")
    shared = {
        name: value for name, value in connected.items() if not name.startswith(consumers_only)
    }
    return {**shared, "enable.idempotence": True}


def _variable(setting: str) -> str:
    return PREFIX + setting.upper().replace(".", "_")
