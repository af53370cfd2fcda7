"""A pretrained text encoder: the bundled one, one of Hugging Face's, or a folder; without code.

Weights are read from safetensors only, and nothing that comes with them is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.config.text import EncoderConfig
from recommender.errors import FeatureError
from recommender.features.encoder_folder import encoder_folder, identity
from recommender.features.quiet import quiet
from recommender.features.vector_cache import Encoded


class Encoder:
    """A loaded encoder.

    Args:
        config: which one, and how it is run.
        store: folder in which fetched encoders are kept.

    Raises:
        FeatureError: it can't be fetched or loaded, isn't what it is pinned to, or has no
            safetensors weights.
    """

    def __init__(self, config: EncoderConfig, store: Path) -> None:
        self._model = load_encoder(config, store)
        self._tokenizer = self._model.tokenizer
        self._batch = config.batch_size
        self._threads = config.threads
        self.name = identity(config)

    @property
    def width(self) -> int:
        """Width of the vectors, W."""
        return int(self._model.get_embedding_dimension())

    def encode(self, hashes: tuple[str, ...], texts: list[str]) -> Encoded:
        """Encode some texts, in as many forward passes as `batch_size` asks for.

        Args:
            hashes: of the texts, in the same order.
            texts: none of them empty.

        Returns:
            The vectors, scaled to length 1, and how much of each text the encoder knew.

        Raises:
            FeatureError: the encoder makes numbers that aren't finite.
        """
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            vectors = self._model.encode(
                texts,
                batch_size=self._batch,
                show_progress_bar=False,
                convert_to_numpy=True,
                normalize_embeddings=True,
            )
        finally:
            torch.set_num_threads(threads)
        broken = np.nonzero(~np.isfinite(vectors).all(axis=1))[0]
        if len(broken):
            raise FeatureError(
                f"the text encoder {self.name} makes no finite vector of {len(broken)} of "
                f"{len(texts)} texts, e.g. of {texts[broken[0]][:80]!r}",
                "its weights are broken; choose another one",
            )
        tokens, unknown = self._count(texts)
        return Encoded(hashes, np.asarray(vectors, np.float32), tokens, unknown)

    def _count(self, texts: list[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        rows = self._tokenizer(
            texts,
            add_special_tokens=False,
            truncation=True,
            max_length=self._model.max_seq_length,
        )["input_ids"]
        mark = self._tokenizer.unk_token_id
        return (
            np.array([len(row) for row in rows], np.int32),
            np.array([sum(token == mark for token in row) for row in rows], np.int32),
        )


def load_encoder(config: EncoderConfig, store: Path) -> Any:
    """Load an encoder with the library that runs it (a `SentenceTransformer`).

    Args:
        config: which one; texts are cut at its `max_tokens`.
        store: folder in which fetched encoders are kept.

    Raises:
        FeatureError: as `Encoder`.
    """
    folder = encoder_folder(config, store)
    with quiet():
        model = _load(config, folder)
    tokenizer = model.tokenizer
    if tokenizer.pad_token is None:
        # Causal language models come without one; what stands in padded places is never read.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    limit = model.max_seq_length
    model.max_seq_length = min(limit or config.max_tokens, config.max_tokens)
    return model


def _load(config: EncoderConfig, folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            # float32 whatever the checkpoint holds: bf16 is very slow on CPUs.
            model_kwargs={"use_safetensors": True, "dtype": "float32"},
        )
    # A damaged folder makes the libraries raise what they like, down to a bare Exception.
    except Exception as error:
        raise FeatureError(
            f"the text encoder {identity(config)} can't be loaded from {folder}: "
            f"{type(error).__name__}: {error}",
            "name one that sentence-transformers can load, without code of its own; a folder "
            "that was fetched can be removed, and it is fetched anew",
        ) from error
