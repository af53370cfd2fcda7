"""The question about items that nobody had touched when the model was made, and plain answers.

Shape letters: B histories, I items, G categories.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recommender.artifact import Model
from recommender.config import Config
from recommender.evaluation.frozen import EvaluationSet, ranges
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, Histories
from recommender.scoring import Floats
from recommender.split import Fold

_NOT_ASKED = np.float32(-1e30)


def cold(dataset: Dataset, fold: Fold) -> NDArray[np.bool_]:
    """Return which items no event before the fold's test window names, (I,)."""
    known = dataset.log.before(fold.test_start).items
    return np.bincount(known, minlength=len(dataset.catalogue)) == 0


def about_cold_items(requests: EvaluationSet, dataset: Dataset) -> EvaluationSet:
    """Return the requests at which somebody took a cold item; only those items are relevant."""
    cold_FI = np.stack([cold(dataset, fold) for fold in dataset.folds])
    owner = np.repeat(np.arange(len(requests)), requests.relevant_counts)
    keep = cold_FI[requests.folds[owner], requests.relevant]
    counts = np.bincount(owner[keep], minlength=len(requests))
    rows = np.flatnonzero(counts)
    kept = requests.relevant[keep][ranges((np.cumsum(counts) - counts)[rows], counts[rows])]
    return replace(
        requests,
        users=requests.users[rows],
        times=requests.times[rows],
        folds=requests.folds[rows],
        relevant=kept,
        offsets=np.concatenate([[0], np.cumsum(counts[rows])]).astype(np.int64),
        surfaces=None if requests.surfaces is None else requests.surfaces[rows],
    )


@dataclass(frozen=True)
class Among:
    """A scorer that is asked about some items only: all others come last.

    Attributes:
        scorer: that is asked.
        asked_I: which items.
    """

    scorer: Any
    asked_I: NDArray[np.bool_]
    kind: ClassVar[str] = "among"

    @property
    def catalogue(self) -> Catalogue:
        return self.scorer.catalogue

    def scores(self, histories: Histories) -> Floats:
        return np.where(self.asked_I, self.scorer.scores(histories), _NOT_ASKED)

    def settings(self) -> dict[str, Any]:
        return self.scorer.settings()

    def weights(self) -> dict[str, NDArray[Any]]:
        return self.scorer.weights()


@dataclass(frozen=True)
class Plain:
    """The same scores for everybody, or one row of scores per history.

    Attributes:
        items: the catalogue.
        own: of a history's rows of items, the scores, (I,).
    """

    items: Catalogue
    own: Any
    kind: ClassVar[str] = "plain"

    @property
    def catalogue(self) -> Catalogue:
        return self.items

    def scores(self, histories: Histories) -> Floats:
        parts = [
            self.own(histories.items[start:stop])
            for start, stop in zip(histories.offsets, histories.offsets[1:], strict=False)
        ]
        return np.stack(parts).astype(np.float32)

    def settings(self) -> dict[str, Any]:
        return {}

    def weights(self) -> dict[str, NDArray[Any]]:
        return {}


def chance(dataset: Dataset, config: Config, seed: int) -> Model:
    """Return a model that draws its scores anew for every history."""
    generator = np.random.default_rng(seed)
    size = len(dataset.catalogue)
    plain = Plain(dataset.catalogue, lambda _: generator.random(size))
    return Model(plain, dataset.titles, config.actions, config.model.history)


def by_category(dataset: Dataset, fold: Fold, config: Config, *, personal: bool) -> Model:
    """Return popularity by category: how often items of an item's categories were taken.

    Args:
        dataset: its items have categories, or titles whose words stand for them.
        fold: only what lies before its test window is counted.
        config: the event types.
        personal: counted in the history at hand instead of over everybody (who breaks ties).
    """
    names: dict[str, int] = {}
    told = zip(
        dataset.items["categories"].to_pylist(), dataset.items["title"].to_pylist(), strict=True
    )
    rows = [
        [names.setdefault(each, len(names)) for each in (groups or (title or "").lower().split())]
        for groups, title in told
    ]
    shares_IG = np.zeros((len(rows), len(names)), np.float32)
    for item, groups in enumerate(rows):
        shares_IG[item, groups] = 1 / max(len(groups), 1)
    successes = dataset.log.of_types(config.actions.successes, config.actions)
    taken = successes.before(fold.test_start).items
    ever_I = shares_IG @ (np.bincount(taken, minlength=len(rows)) @ shares_IG)
    ever_I = ever_I / (ever_I.max() + 1)

    def own(items: NDArray[np.int32]) -> Floats:
        if not personal:
            return ever_I
        return shares_IG @ shares_IG[items].sum(axis=0) + 1e-3 * ever_I

    return Model(
        Plain(dataset.catalogue, own), dataset.titles, config.actions, config.model.history
    )
