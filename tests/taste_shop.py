"""A shop with words, categories and people, in an online store that is written directly.

Ten items in two categories, two more without any; a Transformer that was never trained (its numbers
are drawn), with a head of actions; `ann` has a history, `dora` only a profile; `sam` and `fred`
follow somebody.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from tables_by_hand import configuration

from feature_repo.locations import online_db
from feature_repo.stores.online_store import OnlineStore
from feature_repo.stores.sqlite import SqliteStore
from recommender.artifact import Model
from recommender.cold_users import ColdUsers
from recommender.config import Config
from recommender.config.model import ModelConfig
from recommender.features.sequences import Catalogue
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.model.whitening import whiten
from recommender.registry import Decision, Lineage, Registry, Status
from recommender.split import Fold

DAY = 24 * 60 * 60 * 1000
NOW = 1_700_000_000_000
ITEMS = tuple(f"i{number:02}" for number in range(12))
CATEGORIES = {
    item: ("shop", "tea") if number < 5 else ("shop", "coffee") if number < 10 else ()
    for number, item in enumerate(ITEMS)
}
WIDTH = 6
ENCODER = "drawn@1"
PROJECT = "by_hand"
FOLLOWED = ({"i07": 9, "i04": 3, "gone": 2}, {"gone": 1})
"""What those took whom `sam` and `fred` follow; the model does not know the item `gone`."""
HISTORY = [("i01", "click", NOW - 3 * DAY), ("i06", "purchase", NOW - DAY), ("i02", "click", NOW)]


def vectors(count: int, seed: int = 5) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def scorer(config: Config, *, known: Sequence[bool] | None = None) -> TransformerScorer:
    """Return a Transformer of drawn numbers, also where training starts from nought."""
    known_I = np.ones(len(ITEMS), bool) if known is None else np.array(known)
    torch.manual_seed(11)
    shape = ModelConfig(width=16, layers=1, heads=2, history=8, text_width=4)
    popularity = torch.linspace(0, 1, len(ITEMS))[:, None].repeat(1, 2)
    module = UnifiedTransformer(
        shape,
        len(config.actions.types),
        torch.from_numpy(whiten(vectors(len(ITEMS)), known_I, 4)),
        torch.from_numpy(known_I),
        popularity,
        repeats=not config.actions.exclude_seen,
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return TransformerScorer(module, Catalogue(ITEMS))


def model(config: Config) -> Model:
    counts = np.arange(len(ITEMS), 0, -1).astype(np.float32)
    # People from DE take the last item and little else.
    german = np.zeros((1, len(ITEMS)), np.float32)
    german[0, -1] = 5000
    titles = tuple(f"Thing {item}" for item in ITEMS)
    cold = ColdUsers("popular", counts, ("country=DE",), german, Catalogue(ITEMS))
    return Model(scorer(config), titles, config.actions, 8, cold=cold)


@dataclass(frozen=True)
class TasteShop:
    config: Config
    version: str
    folder: Path


def open_taste_shop(workspace: Path) -> TasteShop:
    config = configuration(workspace)
    fill(store_of(config))
    made = workspace / "made"
    model(config).save(made)
    fold = Fold(NOW - 9 * DAY, NOW, NOW + DAY)
    lineage = Lineage("run-1", "d-1", config.fingerprint(), {}, "src-0", (fold,), encoder=ENCODER)
    registry = Registry.of(config.paths)
    version = registry.register(made, lineage, Decision("run-1", Status.PASSED))
    return TasteShop(config, version, registry.fetch(version))


def store_of(config: Config) -> OnlineStore:
    online_db(config.paths).parent.mkdir(parents=True, exist_ok=True)
    return SqliteStore(online_db(config.paths), PROJECT)


def fill(store: OnlineStore) -> None:
    """Write the shop's rows: histories, profiles and items."""
    events = list(zip(*HISTORY, strict=True))
    history = {
        "item_ids": [list(events[0])],
        "actions": [list(events[1])],
        "times": [list(events[2])],
        "values": pa.array([[float("nan")] * len(HISTORY)], pa.list_(pa.float32())),
        "as_of": [NOW + 1],
    }
    put(store, "user_sequence", "user_id", ["ann"], history)
    profiles = {"attributes": ['{"country": "DE", "age": "30"}', '{"country": "FR"}']}
    put(store, "user_profile", "user_id", ["dora", "fred"], profiles)
    social = {"followed": [json.dumps({"took": took, "users": ["x"] * 9}) for took in FOLLOWED]}
    put(store, "user_social", "user_id", ["sam", "fred"], social)
    add_items(store, ITEMS, vectors(len(ITEMS)), [CATEGORIES[item] for item in ITEMS])


def add_items(
    store: OnlineStore, ids: Sequence[str], text: np.ndarray, categories: Sequence[Sequence[str]]
) -> None:
    words = {
        "title": [f"Thing {item}" for item in ids],
        "text": [f"about {item}" for item in ids],
        "vector": pa.array([row.tolist() for row in text], pa.list_(pa.float32())),
        "encoder": [ENCODER] * len(ids),
        "content_hash": [item * 3 for item in ids],
    }
    put(store, "item_text", "item_id", ids, words)
    facts = {
        "categories": pa.array([list(each) for each in categories], pa.list_(pa.string())),
        "brand": pa.nulls(len(ids), pa.string()),
        "price": pa.nulls(len(ids), pa.float64()),
        "category_price": pa.nulls(len(ids), pa.float64()),
    }
    put(store, "item_attributes", "item_id", ids, facts)


def put(store: OnlineStore, view: str, key: str, ids: Sequence[str], columns: dict) -> None:
    moment = pa.array([datetime.now(UTC)] * len(ids), pa.timestamp("us", tz="UTC"))
    batch = pa.record_batch({key: list(ids), **columns, "event_timestamp": moment})
    store.write(view, key, [batch])
