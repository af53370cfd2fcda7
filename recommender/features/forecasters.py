"""Forecasts of one demand series by the classical models.

    ar             y_t = c + a_1 y_{t-1} + … + a_p y_{t-p} + e_t, by least squares
    ma             y_t = c + e_t + b_1 e_{t-1} + … + b_q e_{t-q}
    arma           both, of order (1, 1)
    sarma          (1, 0, 1)(1, 0, 1)_m
    sarima         (0, 1, 1)(0, 1, 1)_m, the "airline model" (Box & Jenkins 1976, §9.2)
    decomposition  the season by STL, repeated; an AR of what remains
    naive          the last period, seasonal-naive the last season, repeated

All but the naive ones are statsmodels'; likelihoods are maximised in the state space. (The ARIMA of
statsforecast 2.1 was tried side by side: by CSS-ML its fits failed on up to a third of our series,
by CSS its forecasts were worse than repeating the last period: tests/benchmarks/test_trend_speed.)

A forecast here is finite and not negative, or it isn't made: `None` says that a series is too short
for the model, or that the fit went wrong.

Shape letters: T periods, H periods ahead.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np

from recommender.config.trends import TrendsConfig
from recommender.features.decomposition import decompose
from recommender.features.demand import Doubles
from recommender.features.smoothing import running_level

ForecastMethod = Literal[
    "naive",
    "seasonal-naive",
    "smoothing",
    "ar",
    "ma",
    "arma",
    "sarma",
    "sarima",
    "decomposition",
]
Forecaster = Callable[[Doubles, int], Doubles | None]
"""Takes the series so far, (T,), and how many periods to look ahead, H; returns (H,) or None."""

# Likelihoods are maximised over the latest periods and in so many steps: time grows with both.
_LATEST, _SEASONS_READ, _STEPS = 120, 8, 25
# A season of weeks in a year makes a fit take half a second and more; decomposition serves those.
_LONGEST_SEASON = 30
# A forecast beyond this many times the highest period ever seen is a fit that went wrong.
_BEYOND = 3.0


def fit(method: ForecastMethod, series: Doubles, trends: TrendsConfig) -> Forecaster | None:
    """Fit a model to a series.

    Args:
        method: which.
        series: demand by period, complete, (T,).
        trends: orders, seasons, smoothing.

    Returns:
        What forecasts from this series, or from a later state of it: its parameters stay those of
        `series` where they come of a likelihood (`ma`, `arma`, `sarma`, `sarima`). None if the
        series is too short for the model or the fit failed.
    """
    season = trends.season_lengths[0] if trends.season_lengths else 0
    if method in ("sarma", "sarima") and not 0 < season <= _LONGEST_SEASON:
        return None
    if len(series) < _shortest(method, trends, season):
        return None
    if method in ("ma", "arma", "sarma", "sarima") and np.ptp(series) > 0:
        return _likeliest(method, series, trends, season)
    return lambda later, horizon: _sound(_direct(method, later, horizon, trends, season), later)


def forecast(
    method: ForecastMethod, series: Doubles, horizon: int, trends: TrendsConfig
) -> Doubles | None:
    """Fit and forecast, (H,); None where `fit` or the forecast fails."""
    forecaster = fit(method, series, trends)
    return None if forecaster is None else forecaster(series, horizon)


def _shortest(method: ForecastMethod, trends: TrendsConfig, season: int) -> int:
    """Return the fewest periods from which a method is fitted."""
    ar = 3 * trends.ar_order + 2
    shortest: dict[ForecastMethod, int] = {
        "naive": 1,
        "smoothing": 1,
        "seasonal-naive": max(season, 1),
        "ar": ar,
        "ma": 3 * trends.ma_order + 10,
        "arma": 16,
        "decomposition": max(ar, 2 * season + 1),
    }
    return shortest.get(method, max(4 * season, 16))


def _direct(
    method: ForecastMethod, series: Doubles, horizon: int, trends: TrendsConfig, season: int
) -> Doubles | None:
    """Forecast by what needs no search."""
    if method == "seasonal-naive" and season:
        return np.resize(series[-season:], horizon)
    if method == "smoothing":
        return np.full(horizon, running_level(series, trends.weight)[-1])
    if method == "ar":
        return _ar(series, horizon, trends.ar_order)
    if method == "decomposition":
        parts = decompose(series, trends.season_lengths, trends.weight)
        rest = _ar(parts.trend + parts.residual, horizon, trends.ar_order)
        return None if rest is None else rest + parts.season_ahead(horizon)
    return np.full(horizon, series[-1])  # naive; and any model of a series that never changes


def _ar(series: Doubles, horizon: int, order: int) -> Doubles | None:
    """Forecast by an autoregression with a constant, fitted by least squares."""
    if np.ptp(series) == 0:
        return np.full(horizon, series[-1])
    from statsmodels.tsa.ar_model import AutoReg

    with _quiet():
        try:
            return np.asarray(AutoReg(series, order).fit().forecast(horizon))
        except (ValueError, np.linalg.LinAlgError):
            return None


def _likeliest(
    method: ForecastMethod, series: Doubles, trends: TrendsConfig, season: int
) -> Forecaster | None:
    """Fit a model of the ARIMA family by maximum likelihood."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    order, seasonal = {
        "ma": ((0, 0, trends.ma_order), (0, 0, 0, 0)),
        "arma": ((1, 0, 1), (0, 0, 0, 0)),
        "sarma": ((1, 0, 1), (1, 0, 1, season)),
        "sarima": ((0, 1, 1), (0, 1, 1, season)),
    }[method]
    reach = max(_LATEST, _SEASONS_READ * season)
    scale = float(np.abs(series).mean()) or 1.0  # the search's steps suit numbers near one
    # The mean is taken off rather than searched for: near a unit root, where strong seasons lie,
    # a constant among the parameters misled the search and doubled its time.
    center = 0.0 if method == "sarima" else float(series[-reach:].mean())

    def latest(values: Doubles) -> Doubles:
        return np.asarray((values[-reach:] - center) / scale)

    with _quiet():
        try:
            model = SARIMAX(
                latest(series),
                order=order,
                seasonal_order=seasonal,
                trend="n",
                concentrate_scale=True,
            )
            fitted = model.fit(
                disp=0,
                method="lbfgs",
                maxiter=_STEPS,
                cov_type="none",
                optim_complex_step=False,
                optim_score="approx",
            )
        except (ValueError, np.linalg.LinAlgError):
            return None

    def ahead(later: Doubles, horizon: int) -> Doubles | None:
        with _quiet():
            try:
                state = fitted if later is series else fitted.apply(latest(later))
                return _sound(center + np.asarray(state.forecast(horizon)) * scale, later)
            except (ValueError, np.linalg.LinAlgError):
                return None

    return ahead


def _sound(ahead: Doubles | None, series: Doubles) -> Doubles | None:
    """Return the forecast without what is below zero, or None if it can't be meant."""
    if ahead is None or not np.isfinite(ahead).all():
        return None
    if ahead.max(initial=0) > _BEYOND * series.max(initial=0):
        return None
    return np.maximum(ahead, 0.0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep statsmodels' remarks on single fits to itself: what fails is counted by the caller."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
