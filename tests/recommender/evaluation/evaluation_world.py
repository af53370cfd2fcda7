"""Small data sets and models for the tests of the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.config import Config, parse
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog, Histories
from recommender.scoring import Floats
from recommender.split import Fold
from recommender.tables import EVENTS, ITEMS

Row = tuple[str, str, str, int]
"""User, item, event, time."""

TYPES = {"types": ["view", "click", "buy"], "history": ["click", "buy"], "success": ["buy"]}


def config_of(*, exclude_seen: bool = False, **sections: Any) -> Config:
    actions = {**TYPES, "exclude_seen": exclude_seen}
    return parse(
        {"name": "tiny", "source": {"kind": "synthetic"}, "actions": actions, **sections}, "test"
    )


def dataset_of(
    rows: Sequence[Row], config: Config, folds: Sequence[Fold], items: Sequence[str] = "abcdef"
) -> Dataset:
    """Make a data set of (user, item, event, time) rows."""
    columns = {
        "event_id": [f"{n:06d}" for n in range(len(rows))],
        "user_id": [row[0] for row in rows],
        "item_id": [row[1] for row in rows],
        "event": [row[2] for row in rows],
        "time": [row[3] for row in rows],
        **{name: [None] * len(rows) for name in ("value", "surface", "position", "propensity")},
    }
    empty = {name: [None] * len(items) for name in ("text", "categories", "brand", "price")}
    catalogue = pa.table(
        {"item_id": list(items), "title": list(items), **empty, "created": [None] * len(items)},
        ITEMS,
    )
    log = EventLog.build(pa.table(columns, EVENTS), Catalogue(tuple(items)), config.actions)
    text = np.zeros((len(items), 2), np.float32)
    return Dataset(log, catalogue, text, tuple(folds), "d-1", "encoder")


class Fixed:
    """Scores every history alike, by a given row; or row by row, by the number asked so far."""

    kind = "fixed"

    def __init__(self, items: Sequence[str], scores: Sequence[float]) -> None:
        self.catalogue = Catalogue(tuple(items))
        self._row = np.array(scores, np.float32)

    def scores(self, histories: Histories) -> Floats:
        return np.repeat(self._row[None], len(histories), axis=0)


class LastItem:
    """Scores the successor (by catalogue order) of the last item highest; remembers histories."""

    kind = "last-item"

    def __init__(self, items: Sequence[str]) -> None:
        self.catalogue = Catalogue(tuple(items))
        self.lengths: list[int] = []

    def scores(self, histories: Histories) -> Floats:
        self.lengths += histories.lengths.tolist()
        scores = np.zeros((len(histories), len(self.catalogue)), np.float32)
        for row in range(len(histories)):
            seen = histories.items[histories.offsets[row] : histories.offsets[row + 1]]
            if len(seen):
                scores[row, (seen[-1] + 1) % len(self.catalogue)] = 1
        return scores


def popularity_model(dataset: Dataset, config: Config, counts: Sequence[float]) -> Model:
    """Make a storable model that ranks every request by the given counts."""
    scorer = Popularity(dataset.catalogue, np.array(counts, np.float32))
    return Model(scorer, dataset.titles, config.actions, config.model.history)
