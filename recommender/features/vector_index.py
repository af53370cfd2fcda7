"""Where in the cache a text is: for a program that looks up a few texts at a time, often."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa

from recommender.features.vector_cache import Encoded, VectorCache, read_shard, shard_hashes


class VectorIndex:
    """The shard of every cached text, in memory: 36 bytes a text.

    It follows the folder: what other programs add or merge is found from then on. Not safe to
    share between threads.

    Args:
        cache: of one encoder.
    """

    def __init__(self, cache: VectorCache) -> None:
        self._cache = cache
        self._paths: list[Path] = []
        self._keys = np.empty(0, "S32")
        self._shard = np.empty(0, np.int32)
        self._changed = -1

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, wanted: Collection[str]) -> list[Encoded]:
        """Return what is there of some texts, each once; the rest must be encoded.

        Args:
            wanted: hashes of the texts.
        """
        found: list[Encoded] = []
        missing = set(wanted)
        # Twice: a shard can be merged into another between the look and the read.
        for _ in range(2):
            self._follow()
            for path, hashes in self._places(missing).items():
                part = read_shard(path, pa.array(hashes, pa.string()))
                if part.hashes:
                    found.append(part)
                    missing -= set(part.hashes)
            if not missing:
                break
        return found

    def _places(self, hashes: Collection[str]) -> dict[Path, list[str]]:
        if not len(self._keys):
            return {}
        asked = sorted(hashes)
        keys = _keys(asked)
        rows = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        places: dict[Path, list[str]] = {}
        for key, row, hit in zip(asked, rows, self._keys[rows] == keys, strict=True):
            if hit:
                places.setdefault(self._paths[self._shard[row]], []).append(key)
        return places

    def _follow(self) -> None:
        changed = self._cache.changed()
        if changed == self._changed:
            return
        shards = self._cache.shards()
        known = set(self._paths)
        if known - shards:
            self._paths, known = [], set()
            self._keys, self._shard = np.empty(0, "S32"), np.empty(0, np.int32)
        new = sorted(shards - known)
        parts = [_keys(shard_hashes(path)) for path in new]
        first = len(self._paths)
        self._paths += new
        numbers = [np.full(len(part), first + n, np.int32) for n, part in enumerate(parts)]
        keys = np.concatenate([self._keys, *parts])
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._shard = np.concatenate([self._shard, *numbers])[order]
        self._changed = changed


def _keys(hashes: list[str]) -> np.ndarray[tuple[int], np.dtype[np.bytes_]]:
    # The first half of a SHA-256 is as unique as anyone needs; `read_shard` compares the whole.
    return np.array([each[:32].encode() for each in hashes], "S32")
