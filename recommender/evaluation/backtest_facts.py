"""What a backtest of the forecasts of demand found, as it is written down."""

from __future__ import annotations

from recommender.evaluation.records import Interval, Record

NAIVE, SEASONAL_NAIVE = "naive", "seasonal-naive"


class MethodFacts(Record):
    """One method on one group of series.

    Attributes:
        method: its name.
        errors: mean over the series of `mae`, `rmse` and `mase`.
        over_naive: that over the naive forecast's, minus 1: below 0 is better. None for itself.
        over_seasonal_naive: likewise over the seasonal-naive forecast's.
        replaced: forecasts (of a series from an origin) that it couldn't make; those are
            exponential smoothing's.
    """

    method: str
    errors: dict[str, Interval]
    over_naive: dict[str, Interval] | None
    over_seasonal_naive: dict[str, Interval] | None
    replaced: int


class GroupFacts(Record):
    """A group of series.

    Attributes:
        name: `items`, `categories` or `all items together`.
        series: how many stand behind every number here.
        unscaled: series left out because nothing ever changed in them.
        methods: the naive ones first.
    """

    name: str
    series: int
    unscaled: int
    methods: tuple[MethodFacts, ...]


class BacktestFacts(Record):
    """A backtest, or why there is none.

    Attributes:
        period: `hour`, `day` or `week`.
        season: its first length in periods; 0 without one.
        horizon: periods ahead.
        confidence: of the intervals.
        resamples: of the paired bootstrap over series.
        origins: UTC milliseconds; from each, what lies strictly before it was seen.
        groups: empty where `reason` says why.
        reason: why there are no figures; None where there are.
    """

    period: str
    season: int
    horizon: int
    confidence: float
    resamples: int
    origins: tuple[int, ...]
    groups: tuple[GroupFacts, ...]
    reason: str | None

    def group(self, name: str) -> GroupFacts | None:
        """Return a group by its name, if there were such series."""
        return next((group for group in self.groups if group.name == name), None)
