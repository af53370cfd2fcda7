"""How far expected values (ratings, times of stay) are from what people gave.

The cases are those of the heads (`recommender.evaluation.heads`): the model is asked about an item
at the moment it was put in front of somebody, with what lay strictly before that. Beside it stands
what the item alone tells: the mean of its earlier values, drawn towards the mean of all.

Shape letters: N cases, K kinds of values, A event types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.config.actions import ActionsConfig
from recommender.config.ranking import ValueConfig
from recommender.evaluation.metrics.rating import mae, mse, rmse
from recommender.features.cases import carried, cases, drawn
from recommender.features.dataset import Dataset
from recommender.scoring import ValueModel
from recommender.split import Fold

Doubles = NDArray[np.float64]
_BLOCK = 2048
_STRENGTH = 5.0
"""Values of an item that the mean of all counts as."""


@dataclass(frozen=True)
class ValueFit:
    """How well one kind of values is foretold, in its own unit.

    Attributes:
        name: of the value.
        cases: with a value.
        users: people behind them.
        mean: of the values that were given.
        mse, rmse, mae: of the model.
        item_rmse, item_mae: of the item's own earlier mean.
    """

    name: str
    cases: int
    users: int
    mean: float
    mse: float
    rmse: float
    mae: float
    item_rmse: float
    item_mae: float


def judge_values(
    model: ValueModel,
    dataset: Dataset,
    fold: Fold,
    actions: ActionsConfig,
    values: Sequence[ValueConfig],
    *,
    history_limit: int,
    most: int,
    seed: int,
) -> tuple[ValueFit, ...]:
    """Judge every kind of values; one that nobody gave in the window is left out.

    Args:
        model: trained on what lies before the fold's test window.
        dataset: the log of all event types.
        fold: the cut.
        actions: the event types and which of them make history.
        values: the kinds, as the model foretells them.
        history_limit: most recent events of a history.
        most: cases that are looked at; beyond it they are drawn at random.
        seed: of that draw.
    """
    log, catalogue = dataset.log, len(dataset.catalogue)
    kinds = [[actions.code(event) for event in value.events] for value in values]
    found = drawn(cases(log, catalogue, fold.test_start, fold.test_end), most, seed)
    given_NK = carried(log, catalogue, found, kinds, fold.test_end)
    earlier = log.before(fold.test_start)
    asked = log.of_types(actions.histories, actions)
    users_N = log.user_of_event[found.rows]
    items_N = log.items[found.rows].astype(np.int64)
    fits = []
    for kind, (value, codes) in enumerate(zip(values, kinds, strict=True)):
        rows = np.flatnonzero(~np.isnan(given_NK[:, kind]))
        if not len(rows):
            continue
        told = []
        for start in range(0, len(rows), _BLOCK):
            some = rows[start : start + _BLOCK]
            histories = asked.histories(users_N[some], found.moments[some], history_limit)
            expected = model.expected_values(histories, items_N[some, None])
            told.append(expected[:, 0, codes[0] - 1])
        given = given_NK[rows, kind].astype(np.float64)
        predicted = np.concatenate(told).astype(np.float64)
        counted = np.isin(earlier.actions, codes) & np.isfinite(earlier.values)
        means_I = _item_means(earlier.items[counted], earlier.values[counted], catalogue)
        item = means_I[items_N[rows]]
        fits.append(
            ValueFit(
                name=value.name,
                cases=len(rows),
                users=len(np.unique(users_N[rows])),
                mean=float(given.mean()),
                mse=mse(given, predicted),
                rmse=rmse(given, predicted),
                mae=mae(given, predicted),
                item_rmse=rmse(given, item),
                item_mae=mae(given, item),
            )
        )
    return tuple(fits)


def _item_means(items: NDArray[np.int32], values: NDArray[np.float32], count: int) -> Doubles:
    """Return each item's mean value, drawn towards the overall one, (I,)."""
    overall = float(values.mean()) if len(values) else 0.0
    given = np.bincount(items, minlength=count)
    total = np.bincount(items, values, minlength=count)
    return np.asarray((total + _STRENGTH * overall) / (given + _STRENGTH))
