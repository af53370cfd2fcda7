"""What whoever runs a benchmark changes: `OSTINATO_SET="training.epochs=4 seed=8"`."""

from __future__ import annotations

import os
from typing import Any

import yaml


def given_settings(told: str | None = None) -> dict[str, Any]:
    """Return settings by their dotted keys.

    Args:
        told: pairs `key=value`, blanks between them, values as in YAML without blanks; None: those
            of the environment's `OSTINATO_SET`.

    Raises:
        ValueError: a pair has no value, or commas stand between pairs.
    """
    pairs = (os.environ.get("OSTINATO_SET", "") if told is None else told).split()
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or "=" in value:
            raise ValueError(f"OSTINATO_SET takes pairs key=value with blanks between: {pair!r}")
        settings[key] = yaml.safe_load(value)
    return settings
