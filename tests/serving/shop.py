"""A shop of eight items with a published history: what served endpoints are asked about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tables_by_hand import configuration, tables

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.config import Config
from recommender.features.sequences import Catalogue
from recommender.registry import Decision, Lineage, Registry, Status
from recommender.split import Fold

DAY = 24 * 60 * 60 * 1000
START = 1_700_000_000_000
CUT = START + 10 * DAY

ITEMS = tuple(f"i{number}" for number in range(8))
# Of these the model knows all but the last, which came to the shop later.
KNOWN = ITEMS[:-1]

EVENTS = [
    ("ann", "i0", "click", START),
    ("ann", "i1", "purchase", START + DAY),
    ("ann", "i2", "impression", START + 2 * DAY),
    ("ann", "i3", "click", CUT + DAY),
    ("bob", "i7", "click", START + DAY),
    ("bob", "i6", "click", START + 2 * DAY),
    ("cem", "i7", "click", START + 3 * DAY),
    ("dan", "i5", "click", CUT + 2 * DAY),
]


def shop_tables():
    return tables(EVENTS, items=ITEMS)


@dataclass(frozen=True)
class Shop:
    """A registered champion-to-be and published features of both lanes."""

    config: Config
    version: str
    folder: Path


def model(config: Config, best: int = 0) -> Model:
    """Return popularity: item i0 first, then i1 … i6; or `best` before all of them."""
    counts = np.arange(len(KNOWN), 0, -1).astype(np.float32)
    counts[best] += 100 * bool(best)
    titles = tuple(f"Thing {item}" for item in KNOWN)
    return Model(Popularity(Catalogue(KNOWN), counts), titles, config.actions, 2)


def register(config: Config, folder: Path, best: int = 0) -> str:
    model(config, best).save(folder)
    fold = Fold(START, CUT, CUT + 5 * DAY)
    lineage = Lineage("run-1", "d-1", config.fingerprint(), {}, "src-0", (fold,))
    decision = Decision("run-1", Status.PASSED)
    return Registry.of(config.paths).register(folder, lineage, decision)


def open_shop(workspace: Path, port: int = 0) -> Shop:
    """Publish the features of both lanes by Feast itself and register a model."""
    from feature_repo.store import publish

    config = configuration(workspace, serving={"port": port})
    publish(config, shop_tables(), CUT, "rehearsal")
    publish(config, shop_tables(), CUT + 5 * DAY, "live")
    version = register(config, workspace / "made")
    return Shop(config, version, Registry.of(config.paths).fetch(version))
