"""Writers at the same time lose nothing: threads and processes, updates and publications."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from user_rows import KEY, KINDS, VIEW, appending, batch, items

UPDATES, WRITERS = 40, 4

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from user_rows import KEY, VIEW, appending
kind, place, name, count = sys.argv[2:]
if kind == "sqlite":
    from pathlib import Path
    from feature_repo.stores.sqlite import SqliteStore
    store = SqliteStore(Path(place), "shop")
else:
    from feature_repo.stores.redis import RedisStore
    store = RedisStore(place, "shop")
for n in range(int(count)):
    store.update(VIEW, KEY, {"a": appending(f"{name}-{n}", 5), f"own-{name}": appending(str(n), 5)})
"""


def expected() -> set[str]:
    return {f"{writer}-{n}" for writer in range(WRITERS) for n in range(UPDATES)}


def test_threads_that_change_one_row_lose_nothing(store):
    store.declare(VIEW, KEY, KINDS)

    def work(writer: int) -> None:
        for n in range(UPDATES):
            store.update(VIEW, KEY, {"a": appending(f"{writer}-{n}", 5)})

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(work, range(WRITERS)))
    (held,) = items(store, "a")
    assert (len(held), set(held)) == (len(expected()), expected())


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.needs_redis)])
def test_processes_that_change_one_row_lose_nothing(kind, request, tmp_path):
    from feature_repo.stores.redis import RedisStore
    from feature_repo.stores.sqlite import SqliteStore

    if kind == "sqlite":
        place = str(tmp_path / "online.db")
        store = SqliteStore(Path(place), "shop")
    else:
        place = request.getfixturevalue("redis_server").connection
        store = RedisStore(place, "shop")
    store.declare(VIEW, KEY, KINDS)
    words = [sys.executable, "-c", WRITER, str(Path(__file__).parent), kind, place]
    children = [subprocess.Popen([*words, str(each), str(UPDATES)]) for each in range(WRITERS)]
    assert [child.wait(60) for child in children] == [0] * WRITERS
    (held,) = items(store, "a")
    assert (len(held), set(held)) == (len(expected()), expected())
    assert items(store, "own-2") == [[str(n) for n in range(UPDATES)]]
    store.close()


def test_publications_between_updates_lose_none_of_them(store):
    """What a merge makes is written only if the row is still what the merge has seen."""
    store.write(VIEW, KEY, [batch({"a": ["start"]}, 1, 1)])

    def keep(snapshot, stored):
        return {**snapshot, "item_ids": stored["item_ids"], "event_timestamp": stored["created"]}

    def publish() -> int:
        merged = 0
        for n in range(2, 40):
            merged += store.write(VIEW, KEY, [batch({"a": [f"snapshot {n}"]}, n, n)], keep).merged
        return merged

    def work(writer: int) -> None:
        for n in range(UPDATES):
            store.update(VIEW, KEY, {"a": appending(f"{writer}-{n}", 500)})

    store.update(VIEW, KEY, {"a": appending("first", 500)})
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        publishing = pool.submit(publish)
        list(pool.map(work, range(WRITERS)))
        assert publishing.result() == 38
    (held,) = items(store, "a")
    assert held[:2] == ["start", "first"]
    assert (len(held), set(held[2:])) == (len(expected()) + 2, expected())


def test_readers_never_see_parts_of_two_rows(store):
    from threading import Event, Thread

    store.write(VIEW, KEY, [batch({"a": ["0"] * 50}, 0, 0)])
    stop, torn, seen = Event(), [], set()

    def read() -> None:
        while not stop.is_set():
            (row,) = store.rows(VIEW, KEY, ["a"])
            seen.add(row["as_of"])
            if row["times"] != [row["as_of"]] or set(row["item_ids"]) != {str(row["as_of"])}:
                torn.append(row)

    readers = [Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(1, 150):
        store.write(VIEW, KEY, [batch({"a": [str(n)] * 50}, n, n)])
    stop.set()
    for reader in readers:
        reader.join()
    assert torn == []
    assert len(seen) > 5
