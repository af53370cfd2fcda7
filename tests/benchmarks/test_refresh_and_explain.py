"""What keeps a served catalogue up to date, and what an explanation costs.

    make bench PYTEST_ARGS="-k refresh_and_explain"

One process, SQLite: rounds of the refresh with 20,000 new items and without any; then reasons for
ten items, beside the recommendation itself, for a history of 200. Nothing about time is asserted.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import pytest
from tables_by_hand import configuration
from taste_shop import NOW, PROJECT, add_items, fill, model, store_of, vectors

from recommender.artifact import Model
from recommender.config.model import ModelConfig
from recommender.explain import explain, modalities
from recommender.features.sequences import Catalogue, Histories
from serving.items import StoreItems
from serving.refresh import Refresher

ITEMS, EVENTS, ROUNDS = 20_000, 200, 15


@pytest.mark.benchmark
def test_refresh_and_explain_catalogue(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    store = store_of(config)
    fill(store)
    ids = [f"item-{number:05}" for number in range(ITEMS)]
    add_items(store, ids, vectors(ITEMS, 3), [("tea", "green")] * ITEMS)
    taken: list[Model] = []
    items = StoreItems(config.paths, PROJECT)
    rounds = Refresher(model(config), items, 9.0, lambda grown, shelf: taken.append(grown))
    took, cpu = [], []
    for _ in range(3):
        started, spent = time.perf_counter(), time.process_time()
        rounds.once()
        took.append(time.perf_counter() - started)
        cpu.append(time.process_time() - spent)
    assert [len(each.scorer.catalogue) for each in taken] == [ITEMS + 12]
    print(
        f"\n{ITEMS:,} new items: first round {took[0]:.2f} s ({cpu[0]:.2f} s of CPU), "
        f"a round without news {took[2]:.2f} s ({cpu[2]:.2f} s of CPU)"
    )


@pytest.mark.benchmark
def test_refresh_and_explain_reasons() -> None:
    import torch

    from recommender.model.scorer import TransformerScorer
    from recommender.model.transformer import UnifiedTransformer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = UnifiedTransformer(
        ModelConfig(width=64, layers=2, heads=2, history=EVENTS),
        3,
        torch.randn(ITEMS, 128),
        torch.ones(ITEMS, dtype=torch.bool),
        torch.randn(ITEMS, 2),
        repeats=True,
    )
    scorer = TransformerScorer(module, Catalogue(tuple(map(str, range(ITEMS)))))
    rng = np.random.default_rng(0)
    times = [NOW + 60_000 * number for number in range(EVENTS)]
    history = Histories.of(
        [(rng.integers(0, ITEMS, EVENTS).tolist(), [2] * EVENTS, times)], [times[-1] + 1]
    )
    asked = np.argsort(-scorer.scores(history)[0])[:10].astype(np.int64)
    ways = {
        "recommending": lambda: scorer.scores(history),
        "which events": lambda: explain(scorer, history, asked),
        "what is read": lambda: modalities(scorer, history, asked, 2),
    }
    told: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            told[name].append((time.perf_counter() - started) * 1000)
    print(f"\n{ITEMS:,} items, a history of {EVENTS}, 10 items explained, p50 of {ROUNDS} in turns")
    for name, each in told.items():
        print(f"{name}: {statistics.median(each):.1f} ms")
