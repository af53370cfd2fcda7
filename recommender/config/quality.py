"""What is expected of the data, how far it may stray, and what is done about missing values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Self

from pydantic import Field, field_validator, model_validator

from recommender.config.imputation import ImputationConfig
from recommender.config.section import Section


class AtMost(Section):
    """Upper limits of one figure: above `warn` it goes on the report, above `fail` it stops.

    Both are named wherever one is changed; null switches a limit off.
    """

    warn: float | None = Field(ge=0)
    """Above this the report carries a warning."""

    fail: float | None = Field(ge=0)
    """Above this the run stops."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warn is not None and self.fail is not None and self.warn > self.fail:
            raise ValueError(f"warn ({self.warn}) must not be above fail ({self.fail})")
        return self


class AtLeast(Section):
    """Lower limits of one figure: below `warn` it goes on the report, below `fail` it stops."""

    warn: float | None = Field(ge=0)
    """Below this the report carries a warning."""

    fail: float | None = Field(ge=0)
    """Below this the run stops."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warn is not None and self.fail is not None and self.warn < self.fail:
            raise ValueError(f"warn ({self.warn}) must not be below fail ({self.fail})")
        return self


_FEW = AtMost(warn=0, fail=0.05)


class RowLimits(Section):
    """How large a share of a table's rows may be wrong in one way.

    What is wrong within the limit is mended: the row is removed, or the value set to missing.
    """

    missing_event_id: AtMost = _FEW
    """Events without an id (removed)."""
    missing_user: AtMost = _FEW
    """Events without a user (removed)."""
    missing_item: AtMost = _FEW
    """Events without an item (removed)."""
    missing_event: AtMost = _FEW
    """Events without a type (see imputation)."""
    missing_time: AtMost = _FEW
    """Events without a time (see imputation)."""
    time_out_of_range: AtMost = _FEW
    """Events before `epoch_start` or in the future (removed)."""
    backwards_time: AtMost = AtMost(warn=0, fail=None)
    """Events that lie before their predecessor in file order (sorted)."""
    duplicate_event_id: AtMost = AtMost(warn=0, fail=0)
    """Different events under one id (with a higher limit: the first one stays)."""
    duplicate_event: AtMost = AtMost(warn=0, fail=0.5)
    """Events that are the same as an earlier one in all but their id (removed)."""
    repeated_event: AtMost = AtMost(warn=0.1, fail=None)
    """Events of the same user, item, type and time that differ elsewhere (kept)."""
    unknown_event: AtMost = _FEW
    """Events whose type is not among `actions.types` (removed)."""
    unknown_item: AtMost = _FEW
    """Events whose item the catalogue lacks (removed)."""
    unknown_user: AtMost = AtMost(warn=0, fail=None)
    """Events whose user the user table lacks (the user is added, without attributes)."""
    value_not_finite: AtMost = _FEW
    """Events with an infinite value (set to missing)."""
    value_out_of_range: AtMost = _FEW
    """Events with a value outside `value_min` … `value_max` (set to missing)."""
    position_out_of_range: AtMost = _FEW
    """Events with a negative position (set to missing)."""
    propensity_out_of_range: AtMost = _FEW
    """Events with a propensity outside (0, 1] (set to missing)."""
    missing_item_id: AtMost = _FEW
    """Items without an id (removed)."""
    duplicate_item: AtMost = _FEW
    """Items whose id comes again further down (the last one stays)."""
    missing_title: AtMost = AtMost(warn=0.05, fail=0.5)
    """Items without a title."""
    unreadable_title: AtMost = _FEW
    """Items with characters in the title that could not be decoded."""
    price_out_of_range: AtMost = _FEW
    """Items with a price below `price_min` or an infinite one (set to missing)."""
    missing_user_id: AtMost = _FEW
    """Users without an id (removed)."""
    duplicate_user: AtMost = _FEW
    """Users whose id comes again further down (the last one stays)."""
    missing_follow_end: AtMost = _FEW
    """Edges of the follow graph that lack one of their two users (removed)."""
    self_follow: AtMost = _FEW
    """Edges from a user to the same (removed)."""
    duplicate_follow: AtMost = AtMost(warn=0, fail=0.5)
    """Edges that come again (the earliest one stays)."""
    unknown_followed: AtMost = AtMost(warn=0.5, fail=None)
    """Edges to a user whom neither the user table nor an event knows (removed)."""
    since_out_of_range: AtMost = _FEW
    """Edges since before `epoch_start` or in the future (removed)."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        for name in type(self).model_fields:
            limit: AtMost = getattr(self, name)
            if max(limit.warn or 0, limit.fail or 0) > 1:
                raise ValueError(f"{name} is a share of the rows, 0 … 1")
        return self


class LogLimits(Section):
    """How large and how dense the log must be, after what was wrong has been removed."""

    events: AtLeast = AtLeast(warn=1000, fail=10)
    """Events of the history types."""
    users: AtLeast = AtLeast(warn=500, fail=2)
    """Users with such events."""
    items: AtLeast = AtLeast(warn=20, fail=2)
    """Items with such events."""
    distinct_times: AtLeast = AtLeast(warn=100, fail=3)
    """Different moments at which such events happened."""
    absent_types: AtMost = AtMost(warn=0, fail=None)
    """Configured event types of which there is no event."""
    largest_gap: AtMost = AtMost(warn=0.5, fail=None)
    """Longest time without any event, as a share of the whole log's length."""
    steps_back: AtMost = AtMost(warn=0.6, fail=None)
    """Share of the steps, from one event of a user to the next in the source's order, that go
    back in time. A file sorted by user and item has about half."""
    removed: AtMost = AtMost(warn=0.1, fail=0.5)
    """Share of the events that was removed, for all reasons together."""


class DriftLimits(Section):
    """How far the log may stray from the last accepted version."""

    compare: bool = True
    """Whether it is compared at all; switch off for one run after a change that is meant."""
    events_kept: AtLeast = AtLeast(warn=0.9, fail=0.5)
    """Events, as a multiple of the accepted version's."""
    users_kept: AtLeast = AtLeast(warn=0.9, fail=0.5)
    """Users with events, as a multiple of the accepted version's."""
    items_kept: AtLeast = AtLeast(warn=0.9, fail=0.5)
    """Items of the catalogue, as a multiple of the accepted version's."""
    growth: AtMost = AtMost(warn=5, fail=None)
    """Events, as a multiple of the accepted version's, upwards."""
    event_mix: AtMost = AtMost(warn=0.1, fail=0.5)
    """Population stability index of the event types' shares."""
    popularity: AtMost = AtMost(warn=0.2, fail=0.6)
    """Jensen–Shannon distance (0 … 1) of the items' shares of the events."""
    value_mean: AtMost = AtMost(warn=0.25, fail=1.0)
    """Shift of the mean value, in standard deviations of the accepted version."""


class QualityConfig(Section):
    """Expectations on the canonical tables and the policy for missing values."""

    epoch_start: datetime = datetime(1990, 1, 1, tzinfo=UTC)
    """No event can be older than this."""

    future_tolerance_s: float = Field(86_400.0, ge=0)
    """An event may lie this many seconds after now (clocks differ), not more."""

    value_min: float | None = None
    """Smallest believable value of an event, if there is one."""

    value_max: float | None = None
    """Largest believable value of an event, if there is one."""

    price_min: float = 0.0
    """Smallest believable price."""

    examples: int = Field(5, ge=1, le=20)
    """Examples given of what broke an expectation."""

    rows: RowLimits = RowLimits()
    """How many rows may be wrong."""

    log: LogLimits = LogLimits()
    """How large and dense the log must be."""

    drift: DriftLimits = DriftLimits()
    """How far from the last accepted version."""

    imputation: ImputationConfig = ImputationConfig()
    """What is done about missing values."""

    @field_validator("epoch_start")
    @classmethod
    def _zoned(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("epoch_start needs a time zone (… +00:00)")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.value_min, self.value_max
        if low is not None and high is not None and low > high:
            raise ValueError(f"value_min ({low}) must not be above value_max ({high})")
        return self
