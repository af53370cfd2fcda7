"""Missing prices, estimated from what else is said of an item."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.quality.columns import Bools, missing, numbers

MINIMUM = 50
"""With fewer known prices a model would only repeat them: the median is taken instead."""

_MOST_VALUES = 200
"""Distinct categories or brands the model tells apart (it allows 255); rarer ones are one."""


def model(items: pa.Table, before: Bools) -> tuple[pa.ChunkedArray, str]:
    """Estimate missing prices by gradient boosting on log prices.

    Features: first category, brand, length of title and of text. The error is measured on every
    fifth known price, kept out of a first fit, and told in the report.

    Shape letters: I items, F features.

    Args:
        items: canonical items.
        before: items that were known before the first test cut: the only ones fitted on, (I,).

    Returns:
        The price column without missing values (unless no price was known), and how it was made.
    """
    prices = numbers(items["price"])
    fit = before & ~np.isnan(prices) & (prices >= 0)
    if not fit.any():
        return items["price"], "left missing: no price was known before the first test cut"
    absent = missing(items["price"])
    if int(fit.sum()) < MINIMUM:
        middle = float(np.median(prices[fit]))
        filled = np.where(absent, middle, prices)
        note = f"median {middle:.6g}: {int(fit.sum())} known prices are too few for a model"
        return pa.chunked_array([pa.array(filled)]), note
    features_IF = _features(items, fit)
    target = np.log1p(prices)
    rows = np.flatnonzero(fit)
    held_out = rows[::5]
    trial = _predicted(features_IF, target, np.setdiff1d(rows, held_out), held_out)
    wrong = np.median(np.abs(trial - prices[held_out]) / np.maximum(prices[held_out], 1e-9))
    filled = prices.copy()
    filled[absent] = _predicted(features_IF, target, rows, np.flatnonzero(absent))
    note = (
        f"gradient boosting on {len(rows):,} prices known before the first test cut; "
        f"median error on a held-out fifth {wrong:.0%}"
    )
    return pa.chunked_array([pa.array(filled)]), note


def _predicted(
    features_IF: NDArray[np.float64],
    target: NDArray[np.float64],
    known: NDArray[np.int64],
    asked: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Fit log prices on the rows `known` and return the prices of the rows `asked`.

    Features that say the same of every known row are left out; without any other, all prices
    are the known ones' (geometric) mean.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    telling = [
        place
        for place, feature in enumerate(features_IF[known].T)
        if len(np.unique(feature[~np.isnan(feature)])) > 1
    ]
    if not telling:
        return np.full(len(asked), np.expm1(target[known].mean()))
    regressor = HistGradientBoostingRegressor(
        categorical_features=[_FEATURES[place] in _CATEGORICAL for place in telling],
        random_state=0,
        early_stopping=False,
        max_iter=100,
    )
    regressor.fit(features_IF[known][:, telling], target[known])
    estimate = np.expm1(regressor.predict(features_IF[asked][:, telling]))
    return np.maximum(np.asarray(estimate, np.float64), 0.0)


_FEATURES = ("category", "brand", "title length", "text length")
_CATEGORICAL = frozenset({"category", "brand"})


def _features(items: pa.Table, fit: Bools) -> NDArray[np.float64]:
    """Return the features in the order of `_FEATURES`, (I, F); a missing text has length 0."""
    first = [row[0] if row else None for row in items["categories"].to_pylist()]
    columns = [
        _ranked(pd.Series(first, dtype=object), fit),
        _ranked(items["brand"].to_pandas(), fit),
        numbers(pc.fill_null(pc.utf8_length(items["title"]), 0)),
        numbers(pc.fill_null(pc.utf8_length(items["text"]), 0)),
    ]
    return np.column_stack(columns)


def _ranked(names: pd.Series[str], fit: Bools) -> NDArray[np.float64]:
    """Number names by how often they come among `fit`; rarer ones and unknown ones are NaN."""
    counts = names[fit].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    order = {name: float(rank) for rank, name in enumerate(counts.index[:_MOST_VALUES])}
    return names.map(order).to_numpy(np.float64)
