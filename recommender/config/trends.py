"""How demand is forecast."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recommender.config.section import Section

Period = Literal["hour", "day", "week"]
SeriesMethod = Literal["smoothing", "ar", "ma", "arma", "sarma", "sarima", "decomposition"]
ItemMethod = Literal["share", "smoothing", "ar", "ma", "arma", "sarma", "sarima", "decomposition"]

PERIOD_MS: dict[Period, int] = {"hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
"""Length of each period, milliseconds."""

_SEASONS: dict[Period, tuple[int, ...]] = {"hour": (24, 168), "day": (7,), "week": (52,)}
_HORIZONS: dict[Period, int] = {"hour": 24, "day": 7, "week": 4}
_WINDOWS: dict[Period, int] = {"hour": 1344, "day": 364, "week": 260}


class TrendsConfig(Section):
    """How demand is forecast.

    Methods, by name: `smoothing`, the exponentially weighted mean; `ar`, `ma`, `arma` (1, 1);
    `sarma` (1, 0, 1)(1, 0, 1) and `sarima` (0, 1, 1)(0, 1, 1), with the first season;
    `decomposition`, the season by STL and an AR of what remains; `share`, an item's share of its
    category's demand times the category's forecast. Wherever a series is too short or too sparse
    for the method, `share` and in the end `smoothing` take its place.
    """

    period: Period = "day"
    """Length of one step of a demand series. Periods are counted in UTC: hours and days begin on
    the clock, weeks on Mondays. Only periods that have ended are read."""

    seasons: tuple[int, ...] | None = None
    """Lengths of the seasons, in periods, rising; null: a day and a week of hours (24, 168), a week
    of days (7), a year of weeks (52). A season is used only where a series holds it twice; none
    (an empty list) is allowed."""

    horizon: int | None = Field(None, ge=1)
    """Periods ahead that backtests and the baseline `trend-popularity` look; null: 24 hours,
    7 days or 4 weeks."""

    window: int | None = Field(None, ge=2)
    """Most recent periods that are read; bounds time and memory. Null: 1,344 hours, 364 days or
    260 weeks."""

    category_method: SeriesMethod = "decomposition"
    """How categories, and the demand of everything, are forecast."""

    item_method: ItemMethod = "share"
    """How the items of the head are forecast. The others always get `share`."""

    head: int = Field(200, ge=0)
    """The head: this many items with most demand, which get a decomposition (and, by `item_method`,
    a model) of their own. Also the most categories that are modelled. Bounds time, whatever the
    size of the catalogue."""

    smoothing: float | None = Field(None, gt=0, lt=1)
    """Weight of the newest period in exponential smoothing. Null: for shares, one of 0.01, 0.03,
    0.1 and 0.2, whichever would have foretold them best in the past; for single series, 0.1."""

    ar_order: int = Field(7, ge=1, le=60)
    """Past periods that an AR reads."""

    ma_order: int = Field(2, ge=1, le=20)
    """Past errors that an MA reads."""

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

    @property
    def weight(self) -> float:
        """The weight of the newest period in the smoothing of a single series."""
        return self.smoothing or 0.1

    @property
    def periods_back(self) -> int:
        """The window, after the default."""
        return self.window or _WINDOWS[self.period]
