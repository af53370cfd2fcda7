"""A small shop with real features, a real registry, and models that are good or bad by making."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.config import Config, parse
from recommender.features.build import catalogue_order, event_log, history_log
from recommender.features.sequences import Catalogue, EventLog
from recommender.files import write_json
from recommender.registry import Decision, Lineage, Registry, Status
from recommender.sources.synthetic import generate
from recommender.split import Fold, cut
from recommender.tables import Tables

DATA_VERSION = "d-0123456789ab"


@dataclass(frozen=True)
class Shop:
    """A data set with its workspace.

    Attributes:
        clean: folder of its tables, as the validate step leaves it.
    """

    config: Config
    tables: Tables
    clean: Path
    fold: Fold

    @property
    def registry(self) -> Registry:
        return Registry.of(self.config.paths)

    @cached_property
    def catalogue(self) -> Catalogue:
        return Catalogue(tuple(catalogue_order(self.tables.items)["item_id"].to_pylist()))

    @cached_property
    def log(self) -> EventLog:
        return event_log(self.tables, self.config)

    @cached_property
    def histories(self) -> EventLog:
        return history_log(self.tables, self.config)

    def times(self, user: str) -> np.ndarray:
        """Return the times of a user's history events, ms."""
        row = self.histories.users.index(user)
        return self.histories.times[self.histories.offsets[row] : self.histories.offsets[row + 1]]

    def counts(self, *, future: bool) -> np.ndarray:
        """Return the successes of each item, before the cut or (what no model can know) after."""
        log = self.log.of_types(self.config.actions.successes, self.config.actions)
        chosen = (log.times >= self.fold.test_start) == future
        return np.bincount(log.items[chosen], minlength=len(self.catalogue)).astype(np.float32)

    def register(
        self,
        counts: np.ndarray,
        run_id: str,
        history: int = 20,
        spoil: Callable[[Path], None] | None = None,
    ) -> str:
        """Register a model that ranks by `counts`; another `history` makes another version.

        `spoil` is called with the model's folder before it is signed.
        """
        titles = tuple(catalogue_order(self.tables.items)["title"].to_pylist())
        model = Model(Popularity(self.catalogue, counts), titles, self.config.actions, history)
        lineage = Lineage(
            run_id,
            DATA_VERSION,
            self.config.fingerprint(),
            self.config.model_dump(mode="json"),
            "src-0123456789ab",
            (self.fold,),
        )
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            model.save(folder)
            if spoil:
                spoil(folder)
            return self.registry.register(folder, lineage, Decision(run_id, Status.PASSED))

    def stored(self, version: str) -> Path:
        """Return the folder of a version in the registry."""
        return self.config.paths.registry / "models" / version


def open_shop(root: Path, **rollout: Any) -> Shop:
    """Open a shop below a folder."""
    config = parse(
        {
            "name": "shop",
            "workspace": str(root / "state"),
            "source": {"kind": "synthetic", "users": 600, "items": 80, "days": 40},
            "actions": {
                "types": ["impression", "click", "purchase"],
                "history": ["click", "purchase"],
                "success": ["click"],
                "exclude_seen": False,
            },
            "serving": {"port": 0},
            "features": {"text": {"threads": 1}},
            "rollout": {"minimum_users_per_arm": 5, "k": 5, "outcome_events": 3, **rollout},
        },
        "the test's configuration",
    )
    tables = generate(config.source, config.seed)
    tables.write(root / "clean")
    write_json(root / "clean" / "manifest.json", {"data_version": DATA_VERSION})
    fold = cut(history_log(tables, config).times, config.split)[-1]
    return Shop(config, tables, root / "clean", fold)
