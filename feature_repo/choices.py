"""What a configuration adds to the views, told to the `feast` program by the environment.

A variable rather than the schema of the snapshot: the snapshots may lie on S3, and reading
definitions must not need a network or credentials.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from feature_repo.stream.rules import EventRules
from recommender.config import Config
from recommender.config.activity import ActivityConfig
from recommender.errors import ConfigError

ENCODERS_VARIABLE = "OSTINATO_TEXT_ENCODERS"
BEHAVIOUR_VARIABLE = "OSTINATO_USER_BEHAVIOUR"
SOCIAL_VARIABLE = "OSTINATO_USER_SOCIAL"
WINDOWS_VARIABLE = "OSTINATO_ACTIVITY_WINDOWS"
RULES_VARIABLE = "OSTINATO_EVENT_RULES"

_SLUG = re.compile(r"[a-z][a-z0-9_]{0,23}")


@dataclass(frozen=True)
class Choices:
    """What isn't defined in every deployment.

    Attributes:
        encoders: slugs of the further text encoders: columns of `item_text`.
        behaviour: whether there is a view `user_behaviour`.
        windows_days: in which activity is counted, rising: columns of `user_activity`.
        rules: what streamed events must be like (`EventRules.to_text`); without them nothing can
            be pushed to `user_event`.
        social: whether there is a view `user_social`.
    """

    encoders: tuple[str, ...] = ()
    behaviour: bool = False
    windows_days: tuple[int, ...] = ActivityConfig().windows_days
    rules: str = ""
    social: bool = False

    @classmethod
    def of(cls, config: Config) -> Choices:
        """Return what a configuration adds."""
        text = config.features.text
        windows = config.features.activity.windows_days
        return cls(
            tuple(each.slug for each in text.also),
            text.behaviour,
            windows,
            EventRules.of(config).to_text(),
            config.source.has_follows,
        )

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Choices:
        """Return what the environment says; nothing is added by default.

        Args:
            environment: variables; by default those of this process, now.

        Raises:
            ConfigError: a variable can't be understood.
            FeatureError: the rules for events can't.
        """
        given = os.environ if environment is None else environment
        slugs = tuple(each for each in given.get(ENCODERS_VARIABLE, "").split(",") if each)
        wrong = [each for each in slugs if not _SLUG.fullmatch(each)]
        behaviour = given.get(BEHAVIOUR_VARIABLE, "") or "0"
        social = given.get(SOCIAL_VARIABLE, "") or "0"
        if wrong or len(set(slugs)) < len(slugs) or {behaviour, social} - {"0", "1"}:
            raise ConfigError(
                f"{ENCODERS_VARIABLE} must be different slugs with commas between them, and "
                f"{BEHAVIOUR_VARIABLE} and {SOCIAL_VARIABLE} 0 or 1; they are "
                f"{','.join(slugs)!r}, {behaviour!r} and {social!r}",
                "python -m feature_repo.environment CONFIG prints them for a configuration",
            )
        rules = given.get(RULES_VARIABLE, "")
        if rules:
            EventRules.from_text(rules)  # says what is wrong before it is registered
        windows = _windows(given.get(WINDOWS_VARIABLE, ""))
        return cls(slugs, behaviour == "1", windows, rules, social == "1")

    def variables(self) -> dict[str, str]:
        """Return the environment that `read` understands."""
        return {
            ENCODERS_VARIABLE: ",".join(self.encoders),
            BEHAVIOUR_VARIABLE: "1" if self.behaviour else "0",
            WINDOWS_VARIABLE: ",".join(map(str, self.windows_days)),
            RULES_VARIABLE: self.rules,
            SOCIAL_VARIABLE: "1" if self.social else "0",
        }


def _windows(text: str) -> tuple[int, ...]:
    """Return the windows that a variable names; an empty one means the defaults."""
    if not text:
        return ActivityConfig().windows_days
    try:
        return ActivityConfig(windows_days=tuple(map(int, text.split(",")))).windows_days
    except ValueError:
        raise ConfigError(
            f"{WINDOWS_VARIABLE} must be rising numbers of days with commas between them, e.g. "
            f"1,7,30; it is {text!r}",
            "python -m feature_repo.environment CONFIG prints it for a configuration",
        ) from None
