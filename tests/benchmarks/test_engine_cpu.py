"""CPU per request of the engines that can compute a served model, by how many ask at once.

    make bench PYTEST_ARGS="-k test_engine_cpu"

20,000 items, about 2 M parameters, histories of 200 events, one thread. The scores of the whole
catalogue only: no HTTP, no ranking. Every history is asked about once, so that nothing is kept from
before. The engines take turns; told is the median over the turns. Nothing about time is asserted.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
from serving_world import HISTORY, ITEMS, NOW, made_model, rows
from tables_by_hand import configuration

TURNS = int(os.environ.get("OSTINATO_BENCH_TURNS", 12))
AT_ONCE = (1, 4, 16)


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_engine_cpu(tmp_path: Path) -> None:
    import torch

    from recommender.config.compute import ComputeConfig
    from recommender.export import onnx_files
    from recommender.export.engines import engine_for
    from serving.ask import Ask, Events
    from serving.ranking import Found, Ranker

    torch.set_num_threads(1)
    config = configuration(
        tmp_path, actions={"types": ["view", "purchase"], "history": ["view", "purchase"]}
    )
    model, parameters = made_model(config)
    folder = tmp_path / "made"
    model.save(folder)
    onnx_files.write(model.scorer.module, folder)
    scorers = {
        "the module": model.scorer,
        "reading only what is needed": engine_for(
            model.scorer, folder, ComputeConfig(engine="eager")
        ),
        "ONNX Runtime": engine_for(model.scorer, folder, ComputeConfig(engine="onnx")),
    }
    users = sum(AT_ONCE) * (TURNS + 1)
    table = rows(users)
    columns = [table[c].to_pylist() for c in ("item_ids", "actions", "times", "values")]
    asks = [Ask(history=[], time=NOW)] * users
    found = [Found(Events(*(column[row] for column in columns))) for row in range(users)]
    _, histories = Ranker(model).read(asks, found)
    took: dict[tuple[str, int], list[float]] = {}
    first = 0
    for turn in range(TURNS + 1):
        for count in AT_ONCE:
            mine = histories.slice(first, first + count)
            first += count
            told = []
            for name, scorer in scorers.items():
                began = time.process_time()
                told.append(scorer.scores(mine))
                spent = 1000 * (time.process_time() - began) / count
                if turn:  # the first turn warms up
                    took.setdefault((name, count), []).append(spent)
            assert all(np.allclose(told[0], each, atol=1e-4) for each in told[1:])
    size = f"{ITEMS:,} items, {parameters / 1e6:.1f} M parameters, {HISTORY} events"
    print(f"\n\n### CPU ms per request, scores only: {size}, {TURNS} turns\n")
    print(f"| requests at once | {' | '.join(scorers)} |\n|---:|{'---:|' * len(scorers)}")
    for count in AT_ONCE:
        cells = [f"{statistics.median(took[name, count]):.1f}" for name in scorers]
        print(f"| {count} | {' | '.join(cells)} |")
