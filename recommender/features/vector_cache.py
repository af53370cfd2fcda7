"""Text vectors on disk by content hash: a text that was encoded once is never encoded again.

A folder of Parquet shards, each written atomically and never changed, so a killed run loses at
most the shard it was working on, and two runs at once do each other no harm.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recommender.files import atomic_file

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

    def read(self) -> list[Encoded]:
        """Read every shard. A damaged one is left out, so that its texts are encoded anew."""
        parts = []
        for path in sorted(self._folder.glob("*.parquet")):
            try:
                parts.append(_read(path))
            except (pa.ArrowException, OSError, ValueError) as error:
                logger.warning("%s is damaged and is made anew: %s", path, error)
                path.unlink(missing_ok=True)
        return parts

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
        name = content_hash(" ".join(encoded.hashes))[:16]
        with atomic_file(self._folder / f"{name}.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")


def _read(path: Path) -> Encoded:
    table = pq.read_table(path, partitioning=None)
    width = table.schema.field("vector").type.list_size
    vectors = table["vector"].combine_chunks()
    flat = vectors.values if isinstance(vectors, pa.FixedSizeListArray) else vectors.flatten()
    return Encoded(
        tuple(table["hash"].to_pylist()),
        flat.to_numpy(zero_copy_only=False).reshape(-1, width),
        table["tokens"].to_numpy(),
        table["unknown"].to_numpy(),
    )
