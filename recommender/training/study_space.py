"""The space of a study: what is configured of it, what a trial gets of it."""

from __future__ import annotations

import math
from typing import Any

from recommender.config import Config
from recommender.config.tree import parse, with_settings
from recommender.config.tuning import Searched
from recommender.errors import ConfigError


def with_tried(config: Config, settings: dict[str, Any]) -> Config:
    """Return the configuration with the settings of a trial.

    Args:
        config: the whole tree.
        settings: by dotted key.

    Raises:
        ConfigError: a key is unknown, or a value is none that it may have.
    """
    tree = with_settings(config.model_dump(mode="json"), settings, "tuning.space")
    return parse(tree, "tuning.space")


def configured_value(config: Config, key: str) -> Any:
    """Return the configured value of a dotted key.

    Args:
        config: the whole tree.
        key: of a setting.

    Raises:
        ConfigError: there is no such key.
    """
    here: Any = config
    for part in key.split("."):
        if not hasattr(here, part):
            raise ConfigError(f"tuning.space: {key} is no setting")
        here = getattr(here, part)
    return here


def holds(searched: Searched, value: Any) -> bool:
    """Return whether a trial can have a value.

    One beyond a range can be told to the search, too, if it is a number of that kind.

    Args:
        searched: what is tried of a setting.
        value: of that setting.
    """
    if searched.choices:
        return value in searched.choices
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return (value > 0 or not searched.log) and (value == int(value) or not searched.whole)


def suggested(trial: Any, key: str, searched: Searched) -> Any:
    """Return the value that a trial gets.

    Args:
        trial: `optuna.trial.Trial`.
        key: of the setting.
        searched: what is tried of it.
    """
    if searched.choices:
        return trial.suggest_categorical(key, list(searched.choices))
    if searched.whole:
        return trial.suggest_int(key, int(searched.low or 0), int(searched.high or 0))
    return trial.suggest_float(key, searched.low, searched.high, log=searched.log)
