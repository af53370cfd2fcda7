"""Vectors on disk: whole shards or nothing, and a damaged one is made anew."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from recommender.errors import StorageError
from recommender.features.vector_cache import Encoded, VectorCache, content_hash


def encoded(*texts: str) -> Encoded:
    count = len(texts)
    vectors = np.random.default_rng(len(texts)).normal(size=(count, 3)).astype(np.float32)
    return Encoded(
        tuple(content_hash(text) for text in texts),
        vectors,
        np.arange(count, dtype=np.int32) + 1,
        np.arange(count, dtype=np.int32),
    )


def hashes(*texts: str) -> list[str]:
    return [content_hash(text) for text in texts]


def test_shards_come_back_bit_for_bit(tmp_path):
    cache = VectorCache(tmp_path / "text")
    parts = [encoded("a", "ü"), encoded("b")]
    for part in parts:
        cache.add(part)
    read = {part.hashes: part for part in cache.read(hashes("a", "ü", "b"))}
    assert len(read) == 2
    for part in parts:
        back = read[part.hashes]
        assert back.vectors.tobytes() == part.vectors.tobytes()
        assert (back.tokens.tolist(), back.unknown.tolist()) == (
            part.tokens.tolist(),
            part.unknown.tolist(),
        )


def test_an_empty_cache_has_no_shards(tmp_path):
    assert VectorCache(tmp_path / "none").read(hashes("a")) == []


def test_parts_are_joined_in_order(tmp_path):
    parts = [encoded("a", "b"), encoded("c")]
    joined = Encoded.joined(parts, 3)
    assert joined.hashes == parts[0].hashes + parts[1].hashes
    assert joined.vectors.tolist() == [*parts[0].vectors.tolist(), *parts[1].vectors.tolist()]
    assert Encoded.joined([], 3).vectors.shape == (0, 3)


@pytest.mark.parametrize("left", [0, 20, -1])
def test_a_damaged_shard_is_left_out_and_said(tmp_path, caplog, left):
    cache = VectorCache(tmp_path)
    cache.add(encoded("a"))
    (shard,) = tmp_path.iterdir()
    shard.write_bytes(shard.read_bytes()[:left])
    cache.add(encoded("b", "c"))

    found = cache.read(hashes("a", "b", "c"))
    assert [part.hashes for part in found] == [encoded("b", "c").hashes]
    assert str(shard) in caplog.text
    cache.add(encoded("a"))
    assert len(cache.read(hashes("a", "b", "c"))) == 2


def test_what_a_killed_run_left_beside_the_shards_is_not_read(tmp_path):
    cache = VectorCache(tmp_path)
    cache.add(encoded("a"))
    (tmp_path / ".0123.parquet.x1y2").write_bytes(b"half")
    assert len(cache.read(hashes("a"))) == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        VectorCache(tmp_path / "file").add(encoded("a"))


def test_only_what_is_wanted_is_read_and_each_text_once(tmp_path):
    cache = VectorCache(tmp_path)
    for texts in (("a", "b", "c"), ("c", "d"), ("e",)):
        cache.add(encoded(*texts))
    assert sorted(h for part in cache.read(hashes("c", "e", "z")) for h in part.hashes) == sorted(
        hashes("c", "e")
    )
    assert cache.read([]) == []
    one = cache.read(hashes("b"))[0]
    assert one.vectors.tobytes() == encoded("a", "b", "c").vectors[1:2].tobytes()


def test_small_shards_are_merged_and_nothing_is_lost(tmp_path):
    cache = VectorCache(tmp_path)
    texts = [f"text {n}" for n in range(40)]
    for text in texts:
        cache.add(encoded(text))
    before = {h: v.tobytes() for part in cache.read(hashes(*texts)) for h, v in rows(part)}
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    cache.compact()
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    after = {h: v.tobytes() for part in cache.read(hashes(*texts)) for h, v in rows(part)}
    assert after == before
    assert len(after) == 40
    cache.compact()
    assert len(cache.read(hashes(*texts))) == 1


def rows(part: Encoded):
    return zip(part.hashes, part.vectors, strict=True)


def test_a_reader_finds_everything_while_shards_are_merged(tmp_path):
    texts = [f"text {n}" for n in range(120)]
    cache = VectorCache(tmp_path)
    stop = threading.Event()
    seen = []

    def read():
        while not stop.is_set():
            seen.append(sum(len(part.hashes) for part in cache.read(known)))

    known: list[str] = []
    for text in texts[:32]:
        cache.add(encoded(text))
    known += hashes(*texts[:32])
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for text in texts[32:]:
            cache.add(encoded(text))
            cache.compact()
    finally:
        stop.set()
        reader.join()
    assert set(seen) == {32}
