"""How demand is forecast."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recommender.config.section import Section

Period = Literal["hour", "day", "week"]
Method = Literal["ar", "ma", "arma", "sarma", "sarima", "decomposition", "smoothing"]

PERIOD_MS: dict[Period, int] = {"hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
"""Length of each period, milliseconds."""

_SEASONS: dict[Period, tuple[int, ...]] = {"hour": (24, 168), "day": (7,), "week": (52,)}
_HORIZONS: dict[Period, int] = {"hour": 24, "day": 7, "week": 4}


class TrendsConfig(Section):
    """How demand is forecast."""

    period: Period = "day"
    """Length of one step of a demand series. Periods are counted in UTC: hours and days begin on
    the clock, weeks on Mondays. Only periods that have ended are read."""

    seasons: tuple[int, ...] | None = None
    """Lengths of the seasons, in periods, rising; null: a day and a week of hours (24, 168), a week
    of days (7), a year of weeks (52). Models with one season use the first. A season is used only
    where a series holds it twice."""

    horizon: int | None = Field(None, ge=1)
    """Periods ahead that a backtest and the baseline `trend-popularity` look; null: 24 hours,
    7 days or 4 weeks."""

    window: int = Field(365, ge=2)
    """Most recent periods that are read; bounds time and memory."""

    head: int = Field(200, ge=0)
    """Items with most demand that get a model of their own, where they have enough of it; and
    categories likewise. All other items are smoothed and follow their category."""

    method: Method = "sarma"
    """The model of the head and of the categories."""

    ar_order: int = Field(7, ge=1)
    """Past periods that the AR model reads."""

    ma_order: int = Field(2, ge=1)
    """Past errors that the MA model reads."""

    smoothing: float = Field(0.1, gt=0, le=1)
    """Weight of the newest period in exponential smoothing."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        seasons = self.seasons or ()
        if any(length < 2 for length in seasons) or list(seasons) != sorted(set(seasons)):
            raise ValueError(f"seasons must rise and each be 2 or more: {list(seasons)}")
        return self

    @property
    def period_ms(self) -> int:
        """Length of a period, milliseconds."""
        return PERIOD_MS[self.period]

    @property
    def season_lengths(self) -> tuple[int, ...]:
        """The seasons, after the default."""
        return _SEASONS[self.period] if self.seasons is None else self.seasons

    @property
    def periods_ahead(self) -> int:
        """The horizon, after the default."""
        return self.horizon or _HORIZONS[self.period]
