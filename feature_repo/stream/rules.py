"""What a data set says about its events, small enough to travel with Feast's definitions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from recommender.config import Config
from recommender.errors import FeatureError

TAG = "event_rules"
"""The tag of the view `user_event` that holds `EventRules.to_text()`."""


@dataclass(frozen=True)
class EventRules:
    """What an event must be like, and which of them make a sequence.

    Attributes:
        types: every event type.
        history: of these, the ones that make up histories.
        limit: most recent events that a sequence keeps.
        future_ms: how far ahead of this machine's clock an event may be.
        longest: most characters of an id or a surface.
        surfaces: those that a sequence tells apart; none: it doesn't say where events happened.
    """

    types: tuple[str, ...]
    history: tuple[str, ...]
    limit: int
    future_ms: int = 300_000
    longest: int = 256
    surfaces: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Config) -> EventRules:
        """Return the rules of a data set."""
        stream = config.features.stream
        return cls(
            config.actions.types,
            config.actions.histories,
            config.features.history_limit,
            round(stream.future_tolerance_s * 1000),
            stream.max_id_length,
            config.actions.surfaces,
        )

    def to_text(self) -> str:
        """Return the rules as stable JSON; surfaces only where some are told apart."""
        told = {name: held for name, held in asdict(self).items() if name != "surfaces" or held}
        return json.dumps(told, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> EventRules:
        """Read what `to_text` wrote.

        Raises:
            FeatureError: it isn't that.
        """
        try:
            held = json.loads(text)
            return cls(
                tuple(str(each) for each in held["types"]),
                tuple(str(each) for each in held["history"]),
                int(held["limit"]),
                int(held["future_ms"]),
                int(held["longest"]),
                tuple(str(each) for each in held.get("surfaces", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FeatureError(
                f"the rules for streamed events can't be read: {error!r}", "publish features again"
            ) from error

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> EventRules:
        """Read the rules that the registered view `user_event` carries.

        Raises:
            FeatureError: it carries none.
        """
        if TAG not in tags:
            raise FeatureError(
                "the registry does not say what events of this project are like",
                "apply the definitions in the environment that "
                "`python -m feature_repo.environment CONFIG` prints, or publish features",
            )
        return cls.from_text(tags[TAG])
