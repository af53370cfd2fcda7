"""A served model that reads who asks and where, and what a store says of items beside words."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from taste_shop import (
    CATEGORIES,
    ITEMS,
    NOW,
    PROJECT,
    TasteShop,
    open_taste_shop,
    put,
    store_of,
    vectors,
)
from taste_shop import model as taste_model

from recommender.artifact import Model
from recommender.config.actions import ActionsConfig
from recommender.config.model import ModelConfig
from recommender.feature_services import UNIFIED_V2
from recommender.features.sequences import Catalogue, Histories
from recommender.model.people import PeopleCodes
from recommender.model.reads import Reads, item_columns
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.registry.signing import sign
from recommender.tables import FURTHER
from serving.history import StoreHistories
from serving.items import StoreItems
from serving.predictor import Predictor
from serving.refresh import Refresher

SURFACES = ("home", "search")


def described() -> pa.Table:
    kinds = {field.name: field.type for field in FURTHER["items"]}
    random = np.random.default_rng(4)
    images = [[("image", random.normal(size=3).tolist())] for _ in ITEMS]
    return pa.table(
        {
            "categories": pa.array([list(CATEGORIES[item]) for item in ITEMS]),
            "brand": pa.array(["b"] * len(ITEMS)),
            "price": pa.array([float(row) for row in range(len(ITEMS))]),
            "numbers": pa.array(
                [[("year", 2000.0 + row)] for row in range(len(ITEMS))], kinds["numbers"]
            ),
            "vectors": pa.array(images, kinds["vectors"]),
        }
    )


def reading(actions: ActionsConfig) -> Model:
    """Return a model of drawn numbers that reads everything."""
    config = ModelConfig(
        width=16,
        layers=1,
        heads=2,
        history=8,
        text_width=4,
        attribute_width=4,
        numbers=("year",),
        vectors=("image",),
        vector_width=2,
    )
    known_I = np.ones(len(ITEMS), bool)
    columns_IV, attributes, widths = item_columns(described(), vectors(len(ITEMS)), known_I, config)
    people = PeopleCodes.learned([{"country": "DE"}, {"country": "FR"}] * 3, ["country"])
    torch.manual_seed(11)
    module = UnifiedTransformer(
        config,
        len(actions.types),
        torch.from_numpy(columns_IV),
        torch.from_numpy(known_I),
        torch.linspace(0, 1, len(ITEMS))[:, None].repeat(1, 2),
        repeats=False,
        reads=Reads(len(SURFACES), people, attributes, widths),
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    told = actions.model_copy(update={"surfaces": SURFACES, "exclude_seen": False})
    scorer = TransformerScorer(module, Catalogue(ITEMS))
    return Model(scorer, tuple(ITEMS), told, 8, UNIFIED_V2)


@pytest.fixture
def taste(tmp_path: Path) -> TasteShop:
    return open_taste_shop(tmp_path)


@pytest.fixture
def served(taste: TasteShop, tmp_path: Path) -> Predictor:
    folder = tmp_path / "reading"
    reading(taste_model(taste.config).actions).save(folder)
    (folder / "model.sig").write_bytes(sign(folder, taste.config.paths.keys))
    reader = StoreHistories(taste.config.paths, PROJECT)
    loaded = Predictor("ostinato", folder, None, taste.config.paths.keys, reader, 5.0)
    assert loaded.load()
    return loaded


def scores(served: Predictor, **ask: Any) -> dict[str, float]:
    body = {"instances": [{"user_id": "ann", "k": len(ITEMS), "time": NOW + 5, **ask}]}
    (told,) = asyncio.run(served.predict(body))["predictions"]
    assert len(told["items"]) == len(ITEMS)
    return {item["item_id"]: item["score"] for item in told["items"]}


def wrote_down(taste: TasteShop, country: str, surfaces: list[str] | None) -> None:
    put(store_of(taste.config), "user_profile", "user_id", ["ann"], profile(country))
    columns: dict[str, Any] = {
        "item_ids": [["i01", "i06"]],
        "actions": [["click", "purchase"]],
        "times": [[NOW - 9, NOW]],
        "values": pa.array([[1.0, 1.0]], pa.list_(pa.float32())),
        "as_of": [NOW + 1],
    }
    if surfaces is not None:
        columns["surfaces"] = [surfaces]
    put(store_of(taste.config), "user_sequence", "user_id", ["ann"], columns)


def profile(country: str) -> dict[str, Any]:
    return {"attributes": [json.dumps({"country": country})]}


def test_the_store_s_profile_and_surfaces_and_the_request_s_surface_reach_the_model(
    served: Predictor, taste: TasteShop
) -> None:
    wrote_down(taste, "DE", ["home", "search"])
    first = scores(served, surface="home")
    assert scores(served, surface="home") == first
    assert scores(served, surface="search") != first
    assert scores(served, surface="a page that nobody named") == scores(served)
    wrote_down(taste, "FR", ["home", "search"])
    assert scores(served, surface="home") != first
    wrote_down(taste, "DE", ["home", "home"])
    assert scores(served, surface="home") != first
    # It is what the model itself says of that history, person and place.
    wrote_down(taste, "DE", ["search", ""])
    asked = replace(
        Histories.of([([1, 6], [2, 3], [NOW - 9, NOW])], [NOW + 5]),
        people=({"country": "DE"},),
        surfaces=np.array([2, 0], np.int8),
        surface=np.array([1], np.int8),
    )
    itself = reading(taste_model(taste.config).actions).scorer.scores(asked)[0]
    got = scores(served, surface="home")
    np.testing.assert_allclose([got[item] for item in ITEMS], itself, atol=1e-5)


def test_a_row_of_before_surfaces_were_told_and_a_history_that_came_along_are_read(
    served: Predictor, taste: TasteShop
) -> None:
    wrote_down(taste, "DE", None)
    events = [
        {"item_id": "i01", "action": "click", "time": NOW - 9},
        {"item_id": "i06", "action": "purchase", "time": NOW},
    ]
    assert scores(served) == scores(served, history=events)
    placed = [{**event, "surface": "search"} for event in events]
    assert scores(served, history=placed) != scores(served)


def test_a_new_item_is_served_by_all_that_the_store_says_of_it(taste: TasteShop) -> None:
    whole = reading(taste_model(taste.config).actions)
    items = described()
    store = store_of(taste.config)
    words = {
        "title": [None] * len(ITEMS),
        "text": ["about"] * len(ITEMS),
        "vector": pa.array([row.tolist() for row in vectors(len(ITEMS))], pa.list_(pa.float32())),
        "encoder": ["drawn@1"] * len(ITEMS),
        "content_hash": ["x"] * len(ITEMS),
    }
    further = [
        json.dumps({name: dict(row[name]) for name in ("numbers", "vectors")})
        for row in items.to_pylist()
    ]
    facts = {name: items[name].combine_chunks() for name in ("categories", "brand", "price")}
    facts |= {"category_price": pa.nulls(len(ITEMS), pa.float64()), "further": further}
    # The same twelve things, and the fourth of them once more under a new name.
    ids = [*ITEMS, "twin"]

    def again(column: Any) -> Any:
        values = column.to_pylist() if isinstance(column, pa.Array) else list(column)
        kind = column.type if isinstance(column, pa.Array) else pa.string()
        return pa.array([*values, values[3]], kind)

    put(store, "item_text", "item_id", ids, {name: again(held) for name, held in words.items()})
    put(store, "item_attributes", "item_id", ids, {n: again(held) for n, held in facts.items()})
    taken: list[Any] = []
    rounds = Refresher(
        whole, StoreItems(taste.config.paths, PROJECT), 9.0, lambda *told: taken.append(told)
    )
    assert rounds.once()
    grown = taken[-1][0].scorer
    assert grown.catalogue.ids == (*ITEMS, "twin")
    columns = grown.module.tower.text_IV.numpy()
    np.testing.assert_allclose(columns[-1], columns[3], atol=1e-3)
    asked = Histories.of([([1, 6], [2, 3], [NOW - 9, NOW])], [NOW + 5])
    np.testing.assert_allclose(grown.scores(asked)[:, :-1], whole.scorer.scores(asked), atol=1e-5)
