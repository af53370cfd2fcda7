"""Item text as vectors: what is said about an item, in one string, through a text encoder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config.text import TextConfig
from recommender.features.encoder import Encoder, identity
from recommender.features.vector_cache import Encoded, VectorCache, content_hash
from recommender.progress import Progress

UNKNOWN_LIMIT = 0.05
"""Above this share of unknown tokens an encoder doesn't know the language of the catalogue."""

_BATCHES_PER_SHARD = 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextVectors:
    """The text vectors of a catalogue: I items, encoder width W.

    Attributes:
        vectors: (I, W) float32, each of length 1; all zeros for an item without any text.
        texts: what was encoded, (I,); empty for an item without any text.
        hashes: SHA-256 of each text, (I,); empty for an item without any text.
        encoder: `name@revision`.
        encoded: texts that went through the encoder in this call.
        cached: texts that an earlier call had encoded.
        without_text: items with a zero vector.
        unknown_rate: share of the catalogue's tokens that the encoder doesn't know.
    """

    vectors: NDArray[np.float32]
    texts: tuple[str, ...]
    hashes: tuple[str, ...]
    encoder: str
    encoded: int
    cached: int
    without_text: int
    unknown_rate: float

    @property
    def warning(self) -> str | None:
        """What people must know about these vectors, if anything."""
        if self.unknown_rate <= UNKNOWN_LIMIT:
            return None
        return (
            f"{self.unknown_rate:.0%} of the catalogue's tokens are unknown to the text encoder "
            f"{self.encoder}: its vectors say little about these items; name one that knows "
            "the language in features.text.encoder"
        )


def describe(items: pa.Table) -> list[str]:
    """Return what is said about each item in one string: title, text, brand, categories.

    Args:
        items: the canonical item table, (I,).

    Returns:
        One text per item, white space made single; empty where nothing is said at all.
    """
    columns = (items[name].to_pylist() for name in ("title", "text", "brand", "categories"))
    return [_sentence(*row) for row in zip(*columns, strict=True)]


def encode_items(items: pa.Table, config: TextConfig, cache: Path) -> TextVectors:
    """Encode what is said about each item.

    Texts that this encoder has seen before come from the cache; only the others are encoded, in
    batches of like length whose order depends on the texts alone. So the same catalogue gives the
    same bytes, also when a run was killed on the way and started again (on one machine and with
    the same number of threads; elsewhere sums may be rounded differently).

    Args:
        items: the canonical item table in catalogue order, (I,).
        config: the encoder.
        cache: folder of what can be made again (`Workspace.cache`).

    Raises:
        FeatureError: the encoder can't be fetched or loaded.
        StorageError: the cache can't be written.
    """
    name = identity(config)
    folder = f"{name.replace('/', '--')}-{config.max_tokens}"
    store = VectorCache(cache / "text" / folder)
    texts = describe(items)
    hashes = tuple(content_hash(text) if text else "" for text in texts)
    wanted = {key: text for key, text in zip(hashes, texts, strict=True) if key}
    known = store.read()
    missing = sorted(wanted.keys() - {key for part in known for key in part.hashes})
    width = known[0].vectors.shape[1] if known else 0
    if missing or not known:
        encoder = Encoder(config, cache / "encoders")
        width = encoder.width
        known += _encode(encoder, {key: wanted[key] for key in missing}, config.batch_size, store)
    everything = Encoded.joined(known, width)
    rows = {key: row for row, key in enumerate(everything.hashes)}
    vectors = np.zeros((len(hashes), width), np.float32)
    with_text = np.array([row for row, key in enumerate(hashes) if key], np.int64)
    source = np.array([rows[key] for key in hashes if key], np.int64)
    vectors[with_text] = everything.vectors[source]
    tokens, unknown = everything.tokens[source].sum(), everything.unknown[source].sum()
    made = TextVectors(
        vectors,
        tuple(texts),
        hashes,
        name,
        encoded=len(missing),
        cached=len(wanted) - len(missing),
        without_text=len(hashes) - len(with_text),
        unknown_rate=float(unknown / tokens) if tokens else 0.0,
    )
    if made.warning:
        logger.warning(made.warning)
    return made


def _encode(
    encoder: Encoder, texts: dict[str, str], batch: int, store: VectorCache
) -> list[Encoded]:
    # Like lengths together, so that little is padded; the hash makes the order total. Batches
    # are never cut differently after a restart, because whole shards of them are kept.
    ordered = sorted(texts, key=lambda key: (-len(texts[key]), key))
    progress = Progress("encode item text", len(ordered))
    shards = []
    size = batch * _BATCHES_PER_SHARD
    for start in range(0, len(ordered), size):
        shard = ordered[start : start + size]
        parts = []
        for first in range(0, len(shard), batch):
            keys = tuple(shard[first : first + batch])
            parts.append(encoder.encode(keys, [texts[key] for key in keys]))
            progress.advance(len(keys))
        shards.append(Encoded.joined(parts, encoder.width))
        store.add(shards[-1])
    return shards


def _sentence(
    title: str | None, text: str | None, brand: str | None, categories: list[str | None] | None
) -> str:
    named = ", ".join(each for each in categories or [] if each)
    parts = [title, text, brand, named]
    clean = (" ".join((part or "").split()) for part in parts)
    return ". ".join(part.rstrip(".") for part in clean if part.rstrip("."))
