"""What the ranking head of the model reads and answers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recommender.config.section import Section


class ValueConfig(Section):
    """A number that events carry and that the model foretells: a rating, a time of stay."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")
    """What it is called in reports and in the `value_names` of answers ("rating")."""

    events: tuple[str, ...] = Field(min_length=1)
    """The event types whose `value` it is. What is foretold is the value should one of them happen;
    several share one forecast (a rating, whether it came with a like or without)."""

    low: float | None = None
    """The least value there is (0.5 stars); no answer is below it."""

    high: float | None = None
    """The largest value there is (5 stars); no answer is above it."""

    loss: Literal["squared", "gamma"] = "squared"
    """What is lost by a wrong forecast. `squared`: the squared error, in units of the values' own
    deviation; for ratings. `gamma`: that of a gamma distribution around the forecast, for times and
    amounts, which are never negative and differ by factors. Both make the forecast a mean."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if len(set(self.events)) != len(self.events):
            raise ValueError(f"events names one twice: {list(self.events)}")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.loss == "gamma" and (self.low or 0) < 0:
            raise ValueError("gamma is for values that are never negative; low is below 0")
        return self


class RankingConfig(Section):
    """What the ranking head of the model reads and answers."""

    head: Literal["plain", "target"] = "plain"
    """What is known of an item put in front of a user. `plain`: the user's state and the item.
    `target`: besides, what the item looks up in the history (attention from the item to every past
    event), its popularity, and when, how often and with which action the user met it before."""

    values: tuple[ValueConfig, ...] = ()
    """The numbers that are foretold beside the actions; an event type has one at most."""

    learned_weights: bool = False
    """Whether what the losses weigh is learned, too, from how uncertain each task is (Kendall et
    al. 2018); `training.action_weight` and `training.value_weight` then multiply that."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [value.name for value in self.values]
        events = [event for value in self.values for event in value.events]
        for what, found in (("name", names), ("event type", events)):
            if len(set(found)) != len(found):
                raise ValueError(f"values: the same {what} occurs twice in {found}")
        return self
