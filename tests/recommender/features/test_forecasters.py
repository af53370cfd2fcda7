"""Forecasts of series whose right answer is known; never NaN, never negative."""

from __future__ import annotations

import numpy as np
import pytest
from demand_worlds import config_of, weekly
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.features.decomposition import decompose
from recommender.features.forecasters import fit, forecast
from recommender.features.smoothing import running_level

LIKELIHOOD = ("ma", "arma", "sarma", "sarima")
MODELS = ("ar", *LIKELIHOOD, "decomposition")
ALL = ("naive", "seasonal-naive", "smoothing", *MODELS)


def trends(**settings_):
    return config_of(**settings_).features.trends


def autoregressive(phi: float, periods: int, seed: int = 0, mean: float = 50.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    series = np.zeros(periods)
    for t in range(1, periods):
        series[t] = phi * series[t - 1] + rng.normal()
    return series + mean


@pytest.mark.parametrize("phi", [-0.5, 0.3, 0.8])
def test_an_ar_finds_the_coefficient_of_an_autoregression(phi: float) -> None:
    ahead = forecast("ar", autoregressive(phi, 3000), 3, trends(ar_order=1))
    assert ahead is not None
    # f2 - f1 and f3 - f2 shrink by the coefficient.
    assert (ahead[2] - ahead[1]) / (ahead[1] - ahead[0]) == pytest.approx(phi, abs=0.05)


def test_an_arma_forecasts_an_autoregression_as_its_truth_does() -> None:
    # Of the latest 120 periods; the truth's forecast is mean + phi^h (last - mean).
    series = autoregressive(0.8, 120, seed=3)
    ahead = forecast("arma", series, 3, trends())
    truth = 50 + 0.8 ** np.arange(1, 4) * (series[-1] - 50)
    np.testing.assert_allclose(ahead, truth, atol=0.6)


def test_an_ma_forgets_after_its_order() -> None:
    shocks = np.random.default_rng(1).normal(size=400)
    series = 30 + shocks[1:] + 0.9 * shocks[:-1]
    ahead = forecast("ma", series, 4, trends(ma_order=1))
    assert ahead is not None
    assert ahead[1] == pytest.approx(ahead[3], abs=1e-6)  # nothing but the mean is left
    assert ahead[1] == pytest.approx(30, abs=0.5)
    # The first one still knows the last shock: 0.9 of it, as far as the model can tell.
    assert ahead[0] - ahead[1] == pytest.approx(0.9 * shocks[-1], abs=0.35)


@pytest.mark.parametrize("method", ["seasonal-naive", "sarma", "sarima", "decomposition"])
def test_a_week_is_foreseen(method) -> None:
    series = weekly(7 * 16).astype(float)
    ahead = forecast(method, series, 7, trends())
    truth = 10 * np.array([1.0, 1.2, 1.5, 1.2, 2.0, 0.8, 0.0])
    np.testing.assert_allclose(ahead, truth, atol=2.0)


def test_a_week_is_not_seen_by_those_without_a_season() -> None:
    series = weekly(7 * 16).astype(float)
    ahead = forecast("smoothing", series, 7, trends())
    np.testing.assert_allclose(ahead, np.full(7, running_level(series, 0.1)[-1]))


def test_parts_add_up_and_are_what_went_in() -> None:
    days = np.arange(7 * 20)
    season = np.resize([3.0, 1, 0, -1, -2, -1, 0], len(days))
    series = 20 + 0.1 * days + season
    parts = decompose(series, (7,), 0.1)
    np.testing.assert_allclose(parts.trend + parts.season + parts.residual, series)
    np.testing.assert_allclose(parts.season, season, atol=0.1)
    assert parts.slope == pytest.approx(0.1, abs=0.01)
    np.testing.assert_allclose(parts.season_ahead(9), np.resize(season[:7], 9), atol=0.1)


def test_a_day_and_a_week_of_hours_are_told_apart() -> None:
    hours = np.arange(24 * 7 * 5)
    day, week = np.sin(2 * np.pi * hours / 24), 2 * (hours // 24 % 7 == 5)
    parts = decompose(10 + 3 * day + week, (24, 168), 0.1)
    assert set(parts.seasons) == {24, 168}
    np.testing.assert_allclose(parts.season, 3 * day + week - week.mean(), atol=0.3)


def test_noise_has_no_season() -> None:
    series = np.random.default_rng(2).poisson(5, 200).astype(float)
    parts = decompose(series, (7,), 0.1)
    assert parts.seasons == {}
    np.testing.assert_allclose(parts.trend + parts.residual, series)


@pytest.mark.parametrize("periods", [1, 2, 13, 14])
def test_short_series_have_a_smoothed_trend_and_no_season(periods: int) -> None:
    series = np.arange(periods, dtype=float)
    parts = decompose(series, (7,), 0.1)
    assert parts.seasons == {}
    np.testing.assert_allclose(parts.trend, running_level(series, 0.1))
    assert np.isfinite(parts.slope)


@pytest.mark.parametrize("method", MODELS)
def test_a_series_too_short_for_a_model_gets_none(method) -> None:
    assert forecast(method, np.array([1.0, 2, 1]), 3, trends()) is None


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("value", [0.0, 4.0])
def test_what_never_changed_is_forecast_to_stay(method, value) -> None:
    ahead = forecast(method, np.full(60, value), 3, trends())
    np.testing.assert_allclose(ahead, np.full(3, value), atol=1e-9)


def test_a_season_too_long_for_a_state_space_is_left_to_the_decomposition() -> None:
    series = np.resize(np.arange(52.0), 52 * 5)
    weeks = trends(period="week")
    assert forecast("sarma", series, 4, weeks) is None
    np.testing.assert_allclose(forecast("decomposition", series, 4, weeks), [0, 1, 2, 3], atol=1.5)


@pytest.mark.parametrize("method", LIKELIHOOD)
def test_a_fitted_model_is_carried_on_to_later_periods(method) -> None:
    series = weekly(7 * 14).astype(float)
    carried = fit(method, series[:-7], trends())
    assert carried is not None
    later, first = carried(series, 7), carried(series[:-7], 7)
    assert later is not None
    assert first is not None
    assert not np.allclose(later, first)  # it has read the last week
    np.testing.assert_array_equal(carried(series[:-7].copy(), 7).round(6), first.round(6))


@pytest.mark.parametrize("method", ALL)
def test_the_same_series_gives_the_same_forecast(method) -> None:
    series = weekly(80, seed=5).astype(float)
    first, again = (forecast(method, series.copy(), 7, trends()) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=60),
    st.sampled_from(["naive", "seasonal-naive", "smoothing", "ar", "decomposition"]),
    st.integers(1, 20),
)
def test_no_forecast_is_ever_nan_or_negative(counts, method, horizon) -> None:
    series = np.array(counts, float)
    ahead = forecast(method, series, horizon, trends())
    if ahead is not None:
        assert ahead.shape == (horizon,)
        assert np.isfinite(ahead).all()
        assert (ahead >= 0).all()
        assert ahead.max() <= 3 * series.max()


@pytest.mark.parametrize("method", LIKELIHOOD)
@pytest.mark.parametrize("seed", range(3))
def test_no_likelihood_gives_nan_or_negative_forecasts_of_sparse_bursts(method, seed) -> None:
    rng = np.random.default_rng(seed)
    series = rng.poisson(40, 90) * (rng.random(90) < 0.15) * 1.0
    ahead = forecast(method, series, 7, trends())
    if ahead is not None:
        assert np.isfinite(ahead).all()
        assert (ahead >= 0).all()
