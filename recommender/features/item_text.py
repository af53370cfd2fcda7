"""The rows of the view `item_text`: what is said about each item, and each encoder's vector."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.features.latest import lists
from recommender.features.text import TextVectors


def item_text(items: pa.Table, text: TextVectors) -> pa.Table:
    """Return one row per item.

    Args:
        items: the canonical item table in catalogue order.
        text: its vectors; those of further encoders become `vector_<slug>`, `encoder_<slug>`.
    """
    columns = {
        "item_id": items["item_id"],
        "title": items["title"],
        "text": pa.array(text.texts, pa.string()),
        "vector": vector_lists(text.vectors),
        "encoder": _same(text.encoder, items.num_rows),
        "content_hash": pa.array(text.hashes, pa.string()),
    }
    for slug, each in text.also.items():
        columns[f"vector_{slug}"] = vector_lists(each.vectors)
        columns[f"encoder_{slug}"] = _same(each.encoder, items.num_rows)
    return pa.table(columns)


def vector_lists(vectors: NDArray[np.float32]) -> pa.ListArray:
    """Return vectors (N, W) as N lists, as Feast stores them."""
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    return lists(np.arange(len(vectors) + 1, dtype=np.int64) * vectors.shape[1], flat)


def _same(text: str, rows: int) -> pa.Array:
    return pa.array([text] * rows, pa.string())
