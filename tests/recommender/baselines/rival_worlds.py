"""Small worlds with one pattern each, for the rivals that are trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from recommender.config import Config, parse
from recommender.features.dataset import Dataset
from recommender.features.sequences import EventLog, Histories
from recommender.split import Fold
from recommender.tables import ITEMS

MINUTE = 60_000
HOUR = 60 * MINUTE
SHOWN, LIKED = 1, 2


def config_of(**neural: object) -> Config:
    """Return a small configuration; arguments are of `evaluation.neural`."""
    small = {"width": 16, "layers": 1, "dropout": 0.0, "learning_rate": 2e-2, "epochs": 12}
    return parse(
        {
            "name": "tiny",
            "source": {"kind": "synthetic"},
            "actions": {
                "types": ["shown", "liked"],
                "history": ["shown", "liked"],
                "success": ["liked"],
                "exclude_seen": False,
            },
            "model": {"history": 8, "text_width": 4},
            "training": {"other_weight": 1.0, "refit": False},
            "evaluation": {"neural": {**small, **neural}},
        },
        "test",
    )


def dataset_of(
    rows: list[tuple[int, int, int, int]], items: int, text: np.ndarray | None = None
) -> Dataset:
    """Make a data set of (user, item, action, time) rows."""
    columns = np.array(sorted(rows, key=lambda row: (row[0], row[3]))).T.astype(np.int64)
    users = int(columns[0].max()) + 1
    counts = np.bincount(columns[0], minlength=users)
    log = EventLog(
        tuple(f"u{number}" for number in range(users)),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        columns[1].astype(np.int32),
        columns[2].astype(np.int8),
        columns[3],
        np.full(len(rows), np.nan, np.float32),
    )
    ids = tuple(f"i{number:02}" for number in range(items))
    nothing = [None] * items
    table = pa.table(
        {
            "item_id": list(ids),
            "title": list(ids),
            "text": nothing,
            "categories": nothing,
            "brand": nothing,
            "price": nothing,
            "created": nothing,
        },
        ITEMS,
    )
    vectors = np.zeros((items, 4), np.float32) if text is None else text
    end = int(columns[3].max()) + 1
    return Dataset(log, table, vectors, (Fold(end, end, end),), "d-1", "encoder")


def ring(users: int = 60, items: int = 16, length: int = 10, seed: int = 3) -> Dataset:
    """Everybody goes on from wherever they start, item by item, round and round."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        start = int(random.integers(items))
        rows += [
            (user, (start + step) % items, LIKED, (step + 1) * HOUR + user)
            for step in range(length)
        ]
    return dataset_of(rows, items)


def asked_in_ring(items: int = 16, length: int = 5) -> tuple[Histories, np.ndarray]:
    """Return one history per item that ends with it, and the item that follows."""
    rows = [
        (
            [(last - length + 1 + step) % items for step in range(length)],
            [LIKED] * length,
            [(step + 1) * HOUR for step in range(length)],
        )
        for last in range(items)
    ]
    return Histories.of(rows, [20 * HOUR] * items), (np.arange(items) + 1) % items


def groups(
    users: int = 40, kinds: int = 4, of_kind: int = 6, length: int = 8, seed: int = 5
) -> Dataset:
    """Everybody takes items of one kind only, in any order; a kind's items share their text."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        kind = user % kinds
        chosen = random.integers(of_kind, size=length)
        rows += [
            (user, int(kind * of_kind + item), LIKED, (step + 1) * HOUR + user)
            for step, item in enumerate(chosen)
        ]
    return dataset_of(rows, kinds * of_kind, kind_text(kinds, of_kind))


def kind_text(kinds: int, of_kind: int) -> np.ndarray:
    """Return text vectors that tell the kind and little else."""
    near = np.random.default_rng(1).normal(0, 0.05, (kinds * of_kind, kinds))
    vectors = np.eye(kinds).repeat(of_kind, axis=0) + near
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def tastes(users: int = 120, length: int = 14, seed: int = 7) -> Dataset:
    """Sixteen films of two kinds; whoever liked one kind likes it, and never the other.

    Every film is liked as often as not, so that only the history together with the film tells.
    """
    random = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        for step, item in enumerate(random.permutation(16)[:length]):
            liked = (item % 2) == (user % 2)
            rows.append((user, int(item), LIKED if liked else SHOWN, (step + 1) * 2 * HOUR + user))
    return dataset_of(rows, 16)


def with_window(dataset: Dataset, share: float = 0.75) -> Dataset:
    """Return the data set with the last part of its time as validation window."""
    times = np.sort(dataset.log.times)
    end = int(times[-1]) + 1
    return replace(dataset, folds=(Fold(int(times[int(share * len(times))]), end, end),))
