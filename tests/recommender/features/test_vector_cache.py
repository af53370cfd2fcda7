"""Vectors on disk: whole shards or nothing, and a damaged one is made anew."""

from __future__ import annotations

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


def test_shards_come_back_bit_for_bit(tmp_path):
    cache = VectorCache(tmp_path / "text")
    parts = [encoded("a", "ü"), encoded("b")]
    for part in parts:
        cache.add(part)
    read = {part.hashes: part for part in cache.read()}
    assert len(read) == 2
    for part in parts:
        back = read[part.hashes]
        assert back.vectors.tobytes() == part.vectors.tobytes()
        assert (back.tokens.tolist(), back.unknown.tolist()) == (
            part.tokens.tolist(),
            part.unknown.tolist(),
        )


def test_an_empty_cache_has_no_shards(tmp_path):
    assert VectorCache(tmp_path / "none").read() == []


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

    assert [part.hashes for part in cache.read()] == [encoded("b", "c").hashes]
    assert str(shard) in caplog.text
    cache.add(encoded("a"))
    assert len(cache.read()) == 2


def test_what_a_killed_run_left_beside_the_shards_is_not_read(tmp_path):
    cache = VectorCache(tmp_path)
    cache.add(encoded("a"))
    (tmp_path / ".0123.parquet.x1y2").write_bytes(b"half")
    assert len(cache.read()) == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        VectorCache(tmp_path / "file").add(encoded("a"))
