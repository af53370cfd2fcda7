"""Texts per second of the live encoder: one at a time against many at once, and from the cache.

    make bench PYTEST_ARGS="-k test_encode"

The bundled encoder, one thread, titles of a shop; every way must give the same vectors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from recommender.config.text import TextConfig
from recommender.features.encoder import Encoder
from recommender.features.live_encoder import LiveEncoder
from recommender.features.vector_cache import content_hash

TEXTS = 512
CALLERS = 32


def titles() -> list[str]:
    kinds = ("scarf", "pet bed", "garden hose", "desk lamp", "running shoe")
    colours = ("red", "navy blue", "olive green")
    return [
        f"Vintage {colours[n % 3]} {kinds[n % 5]} by Gorse, model {n}. Home and living"
        for n in range(TEXTS)
    ]


@pytest.mark.benchmark
def test_encode_together_and_one_by_one(tmp_path: Path) -> None:
    config = TextConfig(threads=1)
    texts = titles()
    alone = Encoder(config, tmp_path)
    alone.encode((content_hash("warm"),), ["warm up"])
    lone, busy = LiveEncoder(config, tmp_path / "lone"), LiveEncoder(config, tmp_path / "busy")

    def one_by_one(text: str) -> np.ndarray:
        return alone.encode((content_hash(text),), [text]).vectors[0]

    def one_caller() -> list[np.ndarray]:
        return [lone.encode([text])[0].vector for text in texts]

    def callers() -> list[np.ndarray]:
        with ThreadPoolExecutor(CALLERS) as pool:
            return list(pool.map(lambda text: busy.encode([text])[0].vector, texts))

    ways: dict[str, Callable[[], list[np.ndarray]]] = {
        "bare encoder, one text at a time": lambda: [one_by_one(text) for text in texts],
        "live encoder, 1 caller": one_caller,
        f"live encoder, {CALLERS} callers": callers,
        f"live encoder, {CALLERS} callers, all cached": callers,
    }
    print(f"\n\n{TEXTS} texts, 1 thread\n")
    print("| way | texts per s | CPU ms a text | forward passes |\n|---|---:|---:|---:|")
    made = []
    for name, way in ways.items():
        before = lone.work.passes + busy.work.passes
        start, cpu = time.perf_counter(), time.process_time()
        made.append(np.array(way()))
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        passes = lone.work.passes + busy.work.passes - before
        shown = TEXTS if name.startswith("bare") else passes
        print(f"| {name} | {TEXTS / wall:,.0f} | {1e3 * cpu / TEXTS:.2f} | {shown} |")
    for live in (lone, busy):
        live.close()
    for vectors in made[1:]:
        np.testing.assert_allclose(vectors, made[0], atol=1e-5)
    assert busy.work.encoded == TEXTS
