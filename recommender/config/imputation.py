"""What is done about missing values, column by column."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from recommender.config.section import Section

PolicyName = Literal[
    "keep", "drop", "constant", "median", "mode", "previous", "interpolate", "model"
]


class Policy(Section):
    """What is done about the missing values of one column.

    In YAML either the name alone (`value: median`) or a mapping
    (`surface: {policy: constant, constant: unknown}`).
    """

    policy: PolicyName
    """`keep`: stays missing, which the features read as "not known".
    `drop`: the row goes.
    `constant`: the value of `constant`.
    `median`, `mode`: of the column, before the first test cut only.
    `previous`: the same user's last known value strictly before the event.
    `interpolate`: (time) between the neighbours in the source's order of that user's rows.
    `model`: (price) gradient boosting on category, brand and length of the texts."""

    constant: float | str | None = None
    """What `constant` fills in; a number for number columns, a text for the others."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"policy": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _constant(self) -> Self:
        if (self.policy == "constant") != (self.constant is not None):
            raise ValueError("constant goes with policy: constant, and only with it")
        return self


_EVENT_POLICIES: dict[str, tuple[PolicyName, ...]] = {
    "event": ("drop", "constant", "mode"),
    "time": ("drop", "interpolate"),
    "value": ("keep", "drop", "constant", "median", "mode", "previous"),
    "surface": ("keep", "drop", "constant", "mode", "previous"),
    "position": ("keep", "drop", "constant", "median", "mode", "previous"),
    # A propensity that nobody logged can't be made up: every off-policy estimate would be wrong.
    "propensity": ("keep", "drop"),
}
_ITEM_POLICIES: dict[str, tuple[PolicyName, ...]] = {
    "title": ("keep", "drop", "constant"),
    "text": ("keep", "drop", "constant"),
    "categories": ("keep", "drop", "constant"),
    "brand": ("keep", "drop", "constant", "mode"),
    "price": ("keep", "drop", "constant", "median", "mode", "model"),
    "created": ("keep", "drop"),
}
_NUMBERS = frozenset({"value", "position", "price"})


def _check(section: Section, allowed: dict[str, tuple[PolicyName, ...]]) -> None:
    for column, policies in allowed.items():
        chosen: Policy = getattr(section, column)
        if chosen.policy not in policies:
            raise ValueError(f"{column} can't be {chosen.policy}; choose {', '.join(policies)}")
        number = not isinstance(chosen.constant, str)
        if chosen.constant is not None and number != (column in _NUMBERS):
            kind = "number" if column in _NUMBERS else "text"
            raise ValueError(f"{column} needs a {kind} as its constant, not {chosen.constant!r}")


class EventImputation(Section):
    """Missing values of the events. A row without user, item or event id is always dropped."""

    event: Policy = Policy(policy="drop")
    """The event type."""
    time: Policy = Policy(policy="drop")
    """The time of the event."""
    value: Policy = Policy(policy="keep")
    """A rating, a quantity."""
    surface: Policy = Policy(policy="keep")
    """Where it happened."""
    position: Policy = Policy(policy="keep")
    """The place in the list that was shown."""
    propensity: Policy = Policy(policy="keep")
    """The logging policy's probability."""

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        _check(self, _EVENT_POLICIES)
        return self


class ItemImputation(Section):
    """Missing values of the items. A row without item id is always dropped."""

    title: Policy = Policy(policy="keep")
    """The title."""
    text: Policy = Policy(policy="keep")
    """The description."""
    categories: Policy = Policy(policy="keep")
    """The categories; a constant becomes the only one."""
    brand: Policy = Policy(policy="keep")
    """The maker."""
    price: Policy = Policy(policy="median")
    """The price."""
    created: Policy = Policy(policy="keep")
    """When the item came into the catalogue."""

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        _check(self, _ITEM_POLICIES)
        return self


class ImputationConfig(Section):
    """What is done about missing values. Nothing that is fitted reads past the first test cut."""

    events: EventImputation = Field(default_factory=EventImputation)
    """Columns of the events."""

    items: ItemImputation = Field(default_factory=ItemImputation)
    """Columns of the items."""
