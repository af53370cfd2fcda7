"""Forecasts and their errors are those of libraries that we don't use for them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from demand_worlds import config_of, weekly

from recommender.evaluation.metrics.forecast import errors, scale
from recommender.features.forecasters import forecast

TRENDS = config_of().features.trends


def test_errors_are_those_of_utilsforecast() -> None:
    from utilsforecast import losses

    rng = np.random.default_rng(5)
    past, truth, ahead = rng.poisson(6, (3, 40)), rng.poisson(6, (3, 7)), rng.gamma(3, 2, (3, 7))
    scales = np.array([[scale(row.astype(float), 7)] for row in past])
    ours = errors(truth[:, None].astype(float), ahead[:, None], scales)
    series = np.repeat(np.arange(3), 7)
    table = pd.DataFrame(
        {"unique_id": series, "ds": np.tile(np.arange(40, 47), 3), "y": truth.ravel()}
    ).assign(model=ahead.ravel())
    known = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(3), 40),
            "ds": np.tile(np.arange(40), 3),
            "y": past.ravel(),
        }
    )
    for column, name in enumerate(("mae", "rmse")):
        np.testing.assert_allclose(
            ours[:, column], getattr(losses, name)(table, ["model"])["model"]
        )
    theirs = losses.mase(table, ["model"], seasonality=7, train_df=known)["model"]
    np.testing.assert_allclose(ours[:, 2], theirs)


@pytest.mark.parametrize(
    ("method", "order", "seasonal", "tolerance"),
    [
        ("ma", (0, 0, 2), (0, 0, 0), 0.02),
        ("arma", (1, 0, 1), (0, 0, 0), 0.02),
        ("sarma", (1, 0, 1), (1, 0, 1), 0.02),
        ("sarima", (0, 1, 1), (0, 1, 1), 0.02),
    ],
)
def test_forecasts_are_those_of_statsforecast_where_its_fit_succeeds(
    method, order, seasonal, tolerance
) -> None:
    from statsforecast.models import ARIMA

    series = weekly(119, scale=100.0, seed=2) + 20.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ARIMA(order=order, season_length=7, seasonal_order=seasonal, method="CSS-ML")
        theirs = model.forecast(series, 7)["mean"]
    ours = forecast(method, series, 7, TRENDS)
    assert ours is not None
    assert np.abs(ours - theirs).mean() <= tolerance * series.mean()


def test_the_naive_ones_are_those_of_statsforecast() -> None:
    from statsforecast.models import Naive, SeasonalNaive

    series = weekly(60).astype(float)
    for method, model in (("naive", Naive()), ("seasonal-naive", SeasonalNaive(7))):
        np.testing.assert_allclose(
            forecast(method, series, 10, TRENDS), model.forecast(series, 10)["mean"]
        )


def test_smoothing_is_that_of_statsforecast_once_the_first_value_is_forgotten() -> None:
    from statsforecast.models import SimpleExponentialSmoothing

    series = weekly(300).astype(float)
    theirs = SimpleExponentialSmoothing(alpha=0.1).forecast(series, 1)["mean"]
    np.testing.assert_allclose(forecast("smoothing", series, 1, TRENDS), theirs, rtol=1e-6)
