"""Item text as vectors: what is said about an item, in one string, through text encoders."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config.text import EncoderConfig, TextConfig
from recommender.features.encoder import Encoder
from recommender.features.encoder_folder import identity
from recommender.features.language import UNKNOWN_LIMIT, Language, languages
from recommender.features.vector_cache import Encoded, VectorCache, content_hash
from recommender.progress import Progress

LEAST_SHARE = 0.01
"""A language of fewer texts than this is recorded, but no warning is given for it alone."""

_BATCHES_PER_SHARD = 16

# Signs that are read as nothing: they would only make tokens unknown, and texts that look alike
# differ. The joiners U+200C and U+200D stay: emoji and several scripts are spelled with them.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
# Control signs, halves of surrogate pairs (no encoding can write them) and non-characters.
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextVectors:
    """Texts and their vectors: I items (or users), encoder width W.

    Attributes:
        vectors: (I, W) float32, each of length 1; all zeros where there is no text.
        texts: what was encoded, (I,); empty where there is no text.
        hashes: SHA-256 of each text, (I,); empty where there is no text.
        encoder: `name@revision`.
        encoded: texts that went through the encoder in this call.
        cached: texts that an earlier call had encoded.
        without_text: rows with a zero vector.
        unknown_rate: share of the tokens that the encoder doesn't know.
        languages: which languages the texts are in, and how much of each the encoder knows.
        also: what further encoders made of the same texts, by slug.
    """

    vectors: NDArray[np.float32]
    texts: tuple[str, ...]
    hashes: tuple[str, ...]
    encoder: str
    encoded: int
    cached: int
    without_text: int
    unknown_rate: float
    languages: tuple[Language, ...] = ()
    also: Mapping[str, TextVectors] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What people must know about these vectors, and about those of further encoders."""
        mine = [
            f"{each.unknown_rate:.0%} of the tokens of {each.texts:,} texts in "
            f"{each.name} ({each.share:.0%} of all texts) are unknown to the text encoder "
            f"{self.encoder}: its vectors say little about them, and quality in {each.name} is "
            "not reported; name an encoder that knows it in features.text"
            for each in self.languages
            if not each.known and each.share >= LEAST_SHARE
        ]
        if not mine and self.unknown_rate > UNKNOWN_LIMIT:
            mine = [
                f"{self.unknown_rate:.0%} of all tokens are unknown to the text encoder "
                f"{self.encoder}: its vectors say little; name another one in features.text"
            ]
        return (*mine, *(said for each in self.also.values() for said in each.warnings))

    @property
    def warning(self) -> str | None:
        """All warnings in one text, if there are any."""
        return "\n".join(self.warnings) or None

    def summary(self) -> dict[str, Any]:
        """Return what the run's report says of the encoding."""
        told: dict[str, Any] = {
            "encoder": self.encoder,
            "encoded": self.encoded,
            "cached": self.cached,
            "without_text": self.without_text,
            "unknown_token_rate": round(self.unknown_rate, 4),
            "languages": {
                each.name: {
                    "texts": each.texts,
                    "unknown_token_rate": round(each.unknown_rate, 4),
                    "known": each.known,
                }
                for each in self.languages
            },
        }
        if self.also:
            told["also"] = {slug: each.summary() for slug, each in self.also.items()}
        return told


def clean(text: str) -> str:
    r"""Return a text without what is no text: white space single, no control signs.

    >>> clean(" soft\x00 \u200bwool\n\tscarf ")
    'soft wool scarf'
    """
    if not text.isprintable():
        text = _NO_TEXT.sub(" ", _INVISIBLE.sub("", text))
    return " ".join(text.split())


def describe(items: pa.Table) -> list[str]:
    """Return what is said about each item in one string: title, text, brand, categories.

    Args:
        items: the canonical item table, (I,).

    Returns:
        One clean text per item; empty where nothing is said at all.
    """
    columns = (items[name].to_pylist() for name in ("title", "text", "brand", "categories"))
    return [sentence(*row) for row in zip(*columns, strict=True)]


def sentence(
    title: str | None, text: str | None, brand: str | None, categories: Sequence[str | None] | None
) -> str:
    """Return what is said about one item in one string, as `describe`."""
    named = ", ".join(each for each in categories or [] if each)
    parts = (clean(part or "").rstrip(". ") for part in (title, text, brand, named))
    return ". ".join(part for part in parts if part)


def encode_items(items: pa.Table, config: TextConfig, cache: Path) -> TextVectors:
    """Encode what is said about each item, with every configured encoder.

    Args:
        items: the canonical item table in catalogue order, (I,).
        config: the encoders.
        cache: folder of what can be made again (`Workspace.cache`).

    Returns:
        The main encoder's vectors; those of the further ones are in `also`.

    Raises:
        FeatureError: an encoder can't be fetched or loaded.
        StorageError: the cache can't be written.
    """
    texts = describe(items)
    also = {
        each.slug: encode_texts(texts, each, cache, label=f"encode item text ({each.slug})")
        for each in config.also
    }
    made = replace(encode_texts(texts, config, cache, label="encode item text"), also=also)
    for said in made.warnings:
        logger.warning(said)
    return made


def encode_texts(
    texts: Sequence[str],
    config: EncoderConfig,
    cache: Path,
    *,
    label: str,
    kind: str = "text",
) -> TextVectors:
    """Encode texts with one encoder.

    Texts that this encoder has seen before come from the cache; only the others are encoded, in
    batches of like length whose order depends on the texts alone. So the same texts give the
    same bytes, also when a run was killed on the way and started again (on one machine and with
    the same number of threads; elsewhere sums may be rounded differently).

    Args:
        texts: clean; empty ones get a zero vector, (I,).
        config: the encoder.
        cache: folder of what can be made again (`Workspace.cache`).
        label: what to call it in the progress.
        kind: which of the caches.

    Raises:
        FeatureError: the encoder can't be fetched or loaded.
        StorageError: the cache can't be written.
    """
    store = VectorCache(cache_folder(config, cache, kind))
    hashes = tuple(content_hash(text) if text else "" for text in texts)
    wanted = {key: text for key, text in zip(hashes, texts, strict=True) if key}
    known = store.read(wanted.keys())
    missing = sorted(wanted.keys() - {key for part in known for key in part.hashes})
    width = known[0].vectors.shape[1] if known else 0
    if missing or not known:
        encoder = Encoder(config, cache / "encoders")
        width = encoder.width
        new = {key: wanted[key] for key in missing}
        known += _encode(encoder, new, config.batch_size, store, label)
    everything = Encoded.joined(known, width)
    rows = {key: row for row, key in enumerate(everything.hashes)}
    vectors = np.zeros((len(hashes), width), np.float32)
    with_text = np.array([row for row, key in enumerate(hashes) if key], np.int64)
    source = np.array([rows[key] for key in hashes if key], np.int64)
    vectors[with_text] = everything.vectors[source]
    tokens, unknown = everything.tokens[source], everything.unknown[source]
    total = int(tokens.sum())
    return TextVectors(
        vectors,
        tuple(texts),
        hashes,
        identity(config),
        encoded=len(missing),
        cached=len(wanted) - len(missing),
        without_text=len(hashes) - len(with_text),
        unknown_rate=float(unknown.sum() / total) if total else 0.0,
        languages=languages([text for text in texts if text], tokens, unknown),
    )


def cache_folder(config: EncoderConfig, cache: Path, kind: str = "text") -> Path:
    """Return the folder of what one encoder, with these settings, has made.

    Args:
        config: the encoder.
        cache: folder of what can be made again (`Workspace.cache`).
        kind: which of the caches.
    """
    return cache / kind / f"{identity(config).replace('/', '--')}-{config.max_tokens}"


def _encode(
    encoder: Encoder, texts: dict[str, str], batch: int, store: VectorCache, label: str
) -> list[Encoded]:
    # Like lengths together, so that little is padded; the hash makes the order total. Batches
    # are never cut differently after a restart, because whole shards of them are kept.
    ordered = sorted(texts, key=lambda key: (-len(texts[key]), key))
    progress = Progress(label, len(ordered))
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
