"""A Transformer of drawn numbers that reads everything there is to read, and the items it reads."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from recommender.config.model import ModelConfig
from recommender.features.sequences import Catalogue
from recommender.model.id_buckets import id_buckets
from recommender.model.people import PeopleCodes
from recommender.model.reads import Reads, item_columns
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.tables import FURTHER

ITEMS, ACTIONS, TEXT, MEMORIES = 23, 3, 6, 2
IDS = tuple(f"i{row}" for row in range(ITEMS))
PEOPLE = PeopleCodes.learned([{"sex": "f"}, {"sex": "m"}] * 3, ["sex"])


def items(count: int = ITEMS, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    numbers, vectors = (field.type for field in FURTHER["items"])
    years = [[("year", float(1950 + row * 3 % 60))] if row % 7 else [] for row in range(count)]
    images = [
        [("image", random.normal(size=5).tolist())] if row % 5 else [] for row in range(count)
    ]
    return pa.table(
        {
            "categories": pa.array(
                [["tea", "hot"] if row % 2 else ["tea"] for row in range(count)]
            ),
            "brand": pa.array(["a" if row % 3 else None for row in range(count)], pa.string()),
            "price": pa.array([float(row) for row in range(count)]),
            "numbers": pa.array(years, numbers),
            "vectors": pa.array(images, vectors),
        }
    )


def scorer(**change) -> TransformerScorer:
    """Return a model of drawn numbers that reads everything there is to read."""
    random = np.random.default_rng(1)
    shape = {"width": 16, "heads": 2, "layers": 2, "history": 8, "text_width": 4}
    more = {"attribute_width": 4, "numbers": ["year"], "vectors": ["image"], "vector_width": 3}
    config = ModelConfig.model_validate(shape | more | change)
    known_I = np.ones(ITEMS, bool)
    features = MEMORIES + 2 * config.demand
    text_IW = random.normal(size=(ITEMS, TEXT)).astype(np.float32)
    columns_IV, attributes, vectors = item_columns(items(), text_IW, known_I, config)
    buckets = id_buckets(IDS, config.id_buckets) if config.id_buckets else None
    torch.manual_seed(3)
    module = UnifiedTransformer(
        config,
        ACTIONS,
        torch.from_numpy(columns_IV),
        torch.from_numpy(known_I),
        torch.from_numpy(random.normal(size=(ITEMS, features)).astype(np.float32)),
        repeats=True,
        reads=Reads(2, PEOPLE, attributes, vectors),
        buckets_I2=None if buckets is None else torch.from_numpy(buckets),
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return TransformerScorer(module, Catalogue(IDS))
