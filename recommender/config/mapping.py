"""How the columns of any log and catalogue become the canonical tables.

`configs/generic.yaml` shows every key with an example.
"""

from __future__ import annotations

import re
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from recommender.config.raw_files import FilesConfig
from recommender.config.section import Section
from recommender.config.template import fields


class Condition(Section):
    """A test of one column; everything that is set must hold.

    A missing cell passes no test but `is_missing` and `not_matching`.
    """

    column: str
    """The raw column that is tested."""

    is_missing: bool | None = None
    """The cell is empty (true) or not (false)."""

    equals: tuple[str, ...] = ()
    """The cell is one of these texts."""

    starts_with: str | None = None
    """The cell starts with this."""

    matches: str | None = None
    """A regular expression is found in the cell (anchor it with ^ and $)."""

    not_matching: str | None = None
    """A regular expression is not found in the cell."""

    above: float | None = None
    """The number is above this."""

    at_least: float | None = None
    """The number is this or more."""

    below: float | None = None
    """The number is below this."""

    at_most: float | None = None
    """The number is this or less."""

    @field_validator("matches", "not_matching")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    @property
    def numeric(self) -> bool:
        """Whether the column is read as numbers."""
        return any(v is not None for v in (self.above, self.at_least, self.below, self.at_most))

    @property
    def tests(self) -> bool:
        """Whether anything is tested at all."""
        texts = (self.is_missing, self.starts_with, self.matches, self.not_matching)
        return self.numeric or bool(self.equals) or any(v is not None for v in texts)


class DropRule(Condition):
    """Rows that are left out, and why; they are counted under `reason`."""

    reason: str
    """In words, for the report ("no customer", "not a product")."""

    @model_validator(mode="after")
    def _tests(self) -> Self:
        if not self.tests:
            raise ValueError("tests nothing; set is_missing, matches, at_most …")
        return self


class EventRule(Section):
    """One rule for the event type; the first that holds wins."""

    event: str
    """The event type it gives."""

    when: Condition | None = None
    """The test; without one the rule always holds."""


class EventTypes(Section):
    """Where the event type comes from: a column, or rules on other columns."""

    column: str | None = None
    """The raw column that names the type."""

    rename: dict[str, str] = Field(default_factory=dict)
    """Names of types in that column → names in `actions.types`; others keep their name."""

    rules: tuple[EventRule, ...] = ()
    """Instead of `column`: rules, the first that holds wins; rows under none are dropped."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.column is None) == (not self.rules):
            raise ValueError("needs either column or rules")
        if self.rules and self.rename:
            raise ValueError("rename goes with column, not with rules")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The event types that the configuration itself names."""
        return tuple(rule.event for rule in self.rules) or tuple(self.rename.values())


class TimeFormat(Section):
    """How a column of moments is written."""

    unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"
    """Unit of numbers since 1970; `auto` is for texts and for real timestamps."""

    format: str | None = None
    """strptime format of texts; default ISO 8601 (`2010-12-01 08:26:00`, with or without T, Z)."""

    zone: str = "UTC"
    """Time zone of texts and timestamps that carry none."""

    @field_validator("zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{name!r} is not a time zone (UTC, Europe/London …)") from None
        return name


class EventColumns(Section):
    """Raw columns of the event log."""

    user: str
    """Who."""
    item: str
    """With what."""
    time: str
    """When."""
    value: str | None = None
    """What the event carries: a rating, a quantity."""
    event_id: str | None = None
    """The source's own id of the event; default: the row number."""
    surface: str | None = None
    """Where it happened (a page, a campaign)."""
    position: str | None = None
    """The place of the item on the page."""
    propensity: str | None = None
    """The probability with which the logging policy showed the item."""

    @property
    def all(self) -> tuple[str, ...]:
        """The raw columns that are mapped."""
        return tuple(name for name in self.model_dump().values() if name is not None)


class EventsMapping(FilesConfig):
    """The event log."""

    columns: EventColumns
    """Which raw column is what."""
    time: TimeFormat = TimeFormat()
    """How moments are written."""
    types: EventTypes
    """Where the event type comes from."""
    drop: tuple[DropRule, ...] = ()
    """Rows that are left out, tested in order."""

    @property
    def needed(self) -> tuple[str, ...]:
        """Every raw column that the mapping reads."""
        tested = [rule.column for rule in self.drop]
        typed = [rule.when.column for rule in self.types.rules if rule.when is not None]
        own = [self.types.column] if self.types.column is not None else []
        return tuple(dict.fromkeys([*self.columns.all, *own, *typed, *tested]))


class LongFormat(Section):
    """A catalogue with one row per item and property, as RetailRocket's; the latest value wins."""

    property: str
    """The column that names the property."""
    value: str
    """The column that holds its value."""
    time: str | None = None
    """The column that says since when; default: the order of the rows."""


class ItemColumns(Section):
    """Raw columns of the catalogue. `title` and `text` may also be templates (`"{name}, {size}"`).

    Where the catalogue is derived from the log: what it said of the item first.
    """

    item: str
    """The id that events name."""
    title: str | None = None
    """In words, for people; a column or a template."""
    text: str | None = None
    """For the text encoder; a column or a template; default: title, categories and brand."""
    categories: str | None = None
    """One or more categories: a list, or a text (see `separator`)."""
    separator: str | None = None
    """What separates categories within a text (`|`); default: one category."""
    brand: str | None = None
    """Maker or brand."""
    price: str | None = None
    """A number, or a text with a number in it ("$12.99"; the lower one of a range)."""
    created: str | None = None
    """When it came into the catalogue."""
    numbers: dict[str, str] = Field(default_factory=dict)
    """Further numbers (a year, a weight): name → column. `model.numbers` says which are read."""
    vectors: dict[str, str] = Field(default_factory=dict)
    """Vectors that were made of the item elsewhere (of its image): name → column of lists, or of
    texts of numbers. `model.vectors` says which are read."""

    @field_validator("title", "text")
    @classmethod
    def _template(cls, template: str | None) -> str | None:
        if template is not None:
            fields(template)
        return template

    @property
    def described(self) -> tuple[str, ...]:
        """The raw columns beside the id."""
        templates = [fields(t) for t in (self.title, self.text) if t is not None]
        further = (*self.numbers.values(), *self.vectors.values())
        plain = (self.categories, self.brand, self.price, self.created, *further)
        names = [name for group in templates for name in group]
        return tuple(dict.fromkeys([*names, *(name for name in plain if name is not None)]))


class ItemsMapping(FilesConfig):
    """The catalogue, from files of its own or, without `location`, from the event log's rows."""

    location: str = ""
    """As in the log; empty: the catalogue is derived from the rows of the log that are kept."""
    columns: ItemColumns
    """Which raw column is what."""
    created: TimeFormat = TimeFormat()
    """How the moments of `columns.created` are written."""
    long: LongFormat | None = None
    """Set if there is one row per item and property; `columns` then names properties."""
    drop: tuple[DropRule, ...] = ()
    """Rows that are left out."""
    only_with_events: bool = False
    """Leave out items that no event names (catalogues with many times more items than are sold)."""


class UsersMapping(FilesConfig):
    """Attributes of users, from files of their own or, without `location`, from the log's rows."""

    location: str = ""
    """As in the log; empty: the first cell among the user's rows of the log."""
    user: str
    """The column with the id that events name."""
    attributes: tuple[str, ...]
    """Columns that are kept, as text, under their own names."""
    labels: dict[str, dict[str, str]] = Field(default_factory=dict)
    """By attribute: code → words ({"age": {"1": "under 18"}})."""


class FollowsMapping(FilesConfig):
    """A follow graph: one row per edge."""

    user: str
    """The column with the id of whoever follows, as events name users."""
    followed: str
    """The column with the id of whoever is followed."""
    since: str | None = None
    """The column that says since when. An edge without a time counts as if it had always been
    there: in evaluation, too."""
    time: TimeFormat = TimeFormat()
    """How the moments of `since` are written."""

    @property
    def needed(self) -> tuple[str, ...]:
        """Every raw column that the mapping reads."""
        return tuple(name for name in (self.user, self.followed, self.since) if name is not None)
