"""Text vectors on disk by content hash: a text that was encoded once is never encoded again.

A folder of Parquet shards, each written atomically and never changed, so a killed run loses at
most the shard it was working on, and two runs at once do each other no harm.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recommender.files import atomic_file

_SMALL, _MANY = 512, 32
"""Shards of fewer rows are merged as soon as there are this many of them."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """Texts and what the encoder said about them; N texts, vectors of width W.

    Attributes:
        hashes: of the texts (`content_hash`), (N,).
        vectors: (N, W) float32, each of length 1.
        tokens: how many tokens each text has, (N,) int32.
        unknown: how many of those the encoder doesn't know, (N,) int32.
    """

    hashes: tuple[str, ...]
    vectors: NDArray[np.float32]
    tokens: NDArray[np.int32]
    unknown: NDArray[np.int32]

    @classmethod
    def joined(cls, parts: list[Encoded], width: int) -> Encoded:
        """Return all parts as one."""
        return cls(
            tuple(text for part in parts for text in part.hashes),
            np.concatenate([np.empty((0, width), np.float32), *(part.vectors for part in parts)]),
            np.concatenate([np.empty(0, np.int32), *(part.tokens for part in parts)]),
            np.concatenate([np.empty(0, np.int32), *(part.unknown for part in parts)]),
        )

    def only(self, rows: NDArray[np.int64]) -> Encoded:
        """Return the texts of some rows, in that order."""
        return Encoded(
            tuple(self.hashes[row] for row in rows),
            self.vectors[rows],
            self.tokens[rows],
            self.unknown[rows],
        )


def content_hash(text: str) -> str:
    """Return the SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


class VectorCache:
    """The vectors that one encoder has made.

    Args:
        folder: of this encoder, this revision and these settings, and of no other.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, wanted: Collection[str]) -> list[Encoded]:
        """Read what is there of some texts; a damaged shard is left out, and is made anew.

        A text that several shards hold (two programs encoded it at once) comes once.

        Args:
            wanted: hashes of the texts. Only their vectors are held in memory.
        """
        parts: list[Encoded] = []
        missing = pa.array(sorted(wanted), pa.string())
        read: set[Path] = set()
        # Again, as long as another program merges shards under our eyes (`compact`).
        while len(missing) and (new := self.shards() - read):
            for path in sorted(new):
                read.add(path)
                part = read_shard(path, missing)
                if part.hashes:
                    parts.append(part)
                    held = pa.array(part.hashes, pa.string())
                    missing = missing.filter(pc.invert(pc.is_in(missing, value_set=held)))
        return parts

    def shards(self) -> set[Path]:
        """Return the files that there are now."""
        return set(self._folder.glob("*.parquet"))

    def changed(self) -> int:
        """Return a number that changes whenever shards come or go."""
        try:
            return self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def add(self, encoded: Encoded) -> None:
        """Write one shard, named after what is in it.

        Raises:
            StorageError: the disk is full or the folder can't be written.
        """
        flat = pa.array(encoded.vectors.reshape(-1))
        table = pa.table(
            {
                "hash": list(encoded.hashes),
                "vector": pa.FixedSizeListArray.from_arrays(flat, encoded.vectors.shape[1]),
                "tokens": encoded.tokens,
                "unknown": encoded.unknown,
            }
        )
        with atomic_file(self._path(encoded)) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def compact(self) -> None:
        """Merge small shards, which a service leaves behind by the hundred, into one.

        Safe beside readers, writers and another compaction: the merged shard is there before the
        small ones go.

        Raises:
            StorageError: the disk is full or the folder can't be written.
        """
        small: list[Path] = []
        for path in sorted(self.shards()):
            try:
                if pq.read_metadata(path).num_rows < _SMALL:
                    small.append(path)
            except (pa.ArrowException, OSError):
                continue  # damaged or gone; `read` deals with it
        if len(small) < _MANY:
            return
        parts: dict[Path, Encoded] = {}
        for path in small:
            with contextlib.suppress(pa.ArrowException, OSError, ValueError):
                parts[path] = _read(path, None)
        widths = {part.vectors.shape[1] for part in parts.values()}
        if len(widths) != 1:
            return
        merged = Encoded.joined(list(parts.values()), widths.pop())
        once = {key: row for row, key in enumerate(merged.hashes)}
        merged = merged.only(np.fromiter(once.values(), np.int64))
        self.add(merged)
        for path in parts.keys() - {self._path(merged)}:
            path.unlink(missing_ok=True)

    def _path(self, encoded: Encoded) -> Path:
        return self._folder / f"{content_hash(' '.join(encoded.hashes))[:16]}.parquet"


def shard_hashes(path: Path) -> list[str]:
    """Return which texts a shard holds; none if it is damaged or gone."""
    try:
        hashes: list[str] = pq.read_table(path, columns=["hash"], partitioning=None)[
            "hash"
        ].to_pylist()
    except (pa.ArrowException, OSError, ValueError):
        return []
    return hashes


def read_shard(path: Path, wanted: pa.Array) -> Encoded:
    """Read some texts of a shard; a damaged one is removed, and one that is gone holds nothing."""
    try:
        return _read(path, wanted)
    except FileNotFoundError:
        pass  # merged into another one
    except (pa.ArrowException, OSError, ValueError) as error:
        logger.warning("%s is damaged and is made anew: %s", path, error)
        path.unlink(missing_ok=True)
    return Encoded.joined([], 0)


def _read(path: Path, wanted: pa.Array | None) -> Encoded:
    """Read a shard; first its hashes, and the rest only if some of them are wanted."""
    if wanted is not None:
        hashes = pq.read_table(path, columns=["hash"], partitioning=None)["hash"]
        chosen = pc.is_in(hashes, value_set=wanted)
        if not pc.any(chosen).as_py():
            return Encoded.joined([], 0)
    table = pq.read_table(path, partitioning=None)
    if wanted is not None:
        table = table.filter(chosen)
    width = table.schema.field("vector").type.list_size
    return Encoded(
        tuple(table["hash"].to_pylist()),
        table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, width),
        table["tokens"].to_numpy(),
        table["unknown"].to_numpy(),
    )
