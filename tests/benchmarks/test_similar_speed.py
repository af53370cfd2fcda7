"""Exact top 10 of 20 k vectors by cosine: ours against FAISS's flat index and a plain product.

    make bench PYTEST_ARGS="-k similar"

Every search gives the same items, which is asserted; times are printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import load
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from feature_repo.offline import write_snapshot
from feature_repo.similar import open_similar, similar_items
from recommender.features.item_text import item_text
from recommender.features.similar import SimilarItems
from recommender.features.text import TextVectors
from recommender.workspace import Workspace

K = 10
ASKED = 200

MILLION = r"""
import json, re, sys, threading, time
from pathlib import Path
from feature_repo.similar import similar_items
from recommender.workspace import Workspace

def own_mb():
    # Without the pages of the mapped file, which the system takes back when it likes.
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def watch():
    while not done.wait(0.01):
        seen.append(own_mb())

seen, done = [own_mb()], threading.Event()
threading.Thread(target=watch).start()
start, cpu = time.perf_counter(), time.process_time()
try:
    found = similar_items(Workspace(Path(sys.argv[1])), "p", "i0000017", 10)
finally:
    done.set()
print(json.dumps({
    "wall": time.perf_counter() - start, "cpu": time.process_time() - cpu,
    "peak_mb": max(seen), "before_mb": seen[0], "found": len(found),
}))
"""


def measured(search: Callable[[int], list[int]], rows: list[int]) -> tuple[list[list[int]], str]:
    search(rows[0])
    walls, cpu = [], time.process_time()
    answers = []
    for row in rows:
        start = time.perf_counter()
        answers.append(search(row))
        walls.append(1e3 * (time.perf_counter() - start))
    each = 1e3 * (time.process_time() - cpu) / len(rows)
    return answers, (
        f"{np.percentile(walls, 50):.2f} | {np.percentile(walls, 99):.2f} | {each:.2f}"
    )


@pytest.mark.benchmark
def test_exact_top_10_of_20_k_vectors() -> None:
    import faiss

    vectors = load.vectors()
    ids = [f"i{n:07d}" for n in range(len(vectors))]
    ours = SimilarItems(ids, vectors)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    faiss.omp_set_num_threads(1)

    def plain(row: int) -> list[int]:
        scores = vectors @ vectors[row]
        best = np.argpartition(-scores, K + 1)[: K + 1]
        return [int(n) for n in best[np.argsort(-scores[best])] if n != row][:K]

    def by_faiss(row: int) -> list[int]:
        _, best = flat.search(vectors[row : row + 1], K + 1)
        return [int(n) for n in best[0] if n != row][:K]

    def by_us(row: int) -> list[int]:
        return [int(each.item_id[1:]) for each in ours.to_item(ids[row], K)]

    rows = np.random.default_rng(5).integers(0, len(vectors), ASKED).tolist()
    print(f"\n\n{len(vectors):,} × {vectors.shape[1]}, {ASKED} questions, 1 thread\n")
    print("| search | p50 ms | p99 ms | CPU ms each |\n|---|---:|---:|---:|")
    answers = {}
    with threadpool_limits(1):
        for name, search in (
            ("NumPy, exact in double precision (ours)", by_us),
            ("NumPy, plain product and argpartition", plain),
            ("FAISS flat index", by_faiss),
        ):
            answers[name], told = measured(search, rows)
            print(f"| {name} | {told} |")
    first, *others = answers.values()
    assert all(other == first for other in others)


def published(root: Path, count: int) -> Workspace:
    """Write the snapshot of a catalogue, as a publication leaves it."""
    paths = Workspace(root)
    items = load.tables(users=1, each=1, items=count).items
    vectors = load.vectors(count)
    made = TextVectors(vectors, ("t",) * count, ("h",) * count, "e@1", 0, count, 0, 0.0)
    write_snapshot(str(paths.features / "offline" / "p"), "item_text", item_text(items, made))
    return paths


@pytest.mark.benchmark
def test_from_the_snapshot(tmp_path: Path) -> None:
    paths = published(tmp_path, load.ITEMS_COUNT)
    index = open_similar(paths, "p")
    with threadpool_limits(1):
        _, told = measured(
            lambda row: [
                int(each.item_id[1:]) for each in similar_items(paths, "p", f"i{row:07d}", K)
            ],
            list(range(0, 20_000, 1_000)),
        )
        print(f"\n\n{load.ITEMS_COUNT:,} items, read from the snapshot for every question")
        print(f"| p50 ms | p99 ms | CPU ms each |\n|---:|---:|---:|\n| {told} |")
    from_file = [each.item_id for each in similar_items(paths, "p", "i0000017", K)]
    assert from_file == [each.item_id for each in index.to_item("i0000017", K)]


@pytest.mark.benchmark
def test_a_million_items_in_bounded_memory(tmp_path: Path) -> None:
    published(tmp_path, 1_000_000)
    ran = subprocess.run(
        [sys.executable, "-c", MILLION, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(ran.stdout)
    print(
        f"\n\n1,000,000 items, one question, from the snapshot: {told['wall']:.2f} s, "
        f"{told['cpu']:.2f} s of CPU, {told['peak_mb'] - told['before_mb']:.0f} MB more than before"
    )
    assert told["found"] == K
