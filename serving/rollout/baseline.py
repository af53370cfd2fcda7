"""The first champion: popularity, where nothing has been served yet.

So that the very first model, too, has somebody to beat in its canary.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.config import Config
from recommender.features.build import catalogue_order, event_log
from recommender.features.sequences import Catalogue
from recommender.registry import Decision, Lineage, Registry, Status, code_version
from recommender.split import Fold
from recommender.tables import Tables


def fit_baseline(tables: Tables, config: Config, fold: Fold) -> Model:
    """Count successes before a fold's cut; the users of its window are replayed to judge by."""
    items = catalogue_order(tables.items)
    ids = items["item_id"].to_pylist()
    catalogue = Catalogue(tuple(ids))
    scorer = Popularity.fit(event_log(tables, config), catalogue, config.actions, fold.test_start)
    titles = tuple(
        title or item for title, item in zip(items["title"].to_pylist(), ids, strict=True)
    )
    return Model(scorer, titles, config.actions, config.model.history)


def register_baseline(
    registry: Registry, tables: Tables, config: Config, fold: Fold, data_version: str, run_id: str
) -> str:
    """Fit popularity and register it, signed and with its lineage, like any other model.

    Returns:
        its version; the same for the same data, so doing it twice changes nothing.

    Raises:
        RegistryError, StorageError: it can't be registered.
    """
    lineage = Lineage(
        run_id=run_id,
        data_version=data_version,
        config_fingerprint=config.fingerprint(),
        config=config.model_dump(mode="json"),
        code_version=code_version(),
        folds=(fold,),
    )
    # One baseline per run: a step that is tried again must find its decision as it was.
    decision = Decision(
        run_id=run_id,
        status=Status.BASELINE,
        detail={"kind": Popularity.kind, "reason": "nothing was served before"},
    )
    with tempfile.TemporaryDirectory(prefix="baseline-") as temporary:
        folder = Path(temporary) / "model"
        fit_baseline(tables, config, fold).save(folder)
        return registry.register(folder, lineage, decision)
