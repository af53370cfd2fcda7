"""The data set and the settings of the training tests, also for processes that they start."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from recommender.config import Config, parse
from recommender.config.actions import ActionsConfig
from recommender.config.source import SyntheticSource
from recommender.config.split import SplitConfig
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog
from recommender.sources.synthetic import generate
from recommender.split import cut

ACTIONS = ActionsConfig(
    types=("impression", "click", "purchase"),
    history=("click", "purchase"),
    success=("click",),
    exclude_seen=False,
)


def tiny_dataset(folds: int = 1) -> Dataset:
    tables = generate(SyntheticSource(users=60, items=40, days=30), 3)
    catalogue = Catalogue(tuple(tables.items["item_id"].to_pylist()))
    log = EventLog.build(tables.events, catalogue, ACTIONS)
    times = log.of_types(ACTIONS.histories, ACTIONS).times
    categories = [tuple(row) for row in tables.items["categories"].to_pylist()]
    random = np.random.default_rng(0)
    centre = {name: random.normal(size=8) for name in sorted(set(categories))}
    text = np.array([centre[name] + 0.3 * random.normal(size=8) for name in categories])
    return Dataset(
        log,
        tables.items,
        text.astype(np.float32),
        cut(times, SplitConfig(folds=folds)),
        "tiny",
        "made up",
    )


def tiny_config(workspace: Path, **training: object) -> Config:
    return parse(
        {
            "name": "tiny",
            "workspace": str(workspace),
            "source": {"kind": "synthetic"},
            "actions": ACTIONS.model_dump(),
            "model": {"width": 16, "layers": 1, "history": 10},
            "training": {
                "epochs": 2,
                "tokens_per_batch": 256,
                "threads": 1,
                "checkpoint_every_steps": 3,
                **training,
            },
        },
        "test",
    )


def log_of(rows: list[tuple[str, str, str, int]], actions: ActionsConfig, items: str) -> EventLog:
    """Make a log of (user, item, event, time in ms) over a catalogue of one-letter items."""
    users, names, events, times = zip(*rows, strict=True)
    table = pa.table(
        {
            "event_id": [f"{row:04d}" for row in range(len(rows))],
            "user_id": users,
            "item_id": names,
            "event": events,
            "time": pa.array(times, pa.int64()).cast(pa.timestamp("ms", tz="UTC")),
            "value": pa.nulls(len(rows), pa.float64()),
        }
    )
    return EventLog.build(table, Catalogue(tuple(items)), actions)
