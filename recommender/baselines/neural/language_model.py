"""A pretrained language model as the start of a rival: weights, vocabulary, and what they need.

Weights come from safetensors in a pinned folder or a pinned repository of Hugging Face
(`recommender.features.encoder_folder`); no code that lies beside them is run.

Shape letters: I items, L tokens of a title and its mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from recommender.config.neural_rivals import LanguageModelConfig
from recommender.errors import ConfigError, FeatureError
from recommender.features.encoder_folder import encoder_folder, identity
from recommender.features.quiet import quiet

PADDING, MARK, FIRST = 0, 1, 2
"""Of rows of words: nothing, the mark behind a title, and the first of the vocabulary."""

_SAME = 1e-5


@dataclass(frozen=True)
class LanguageModel:
    """A network that reads word vectors, and how titles are cut into its words.

    Attributes:
        body: answers `inputs_embeds` and `attention_mask` with `last_hidden_state`.
        title_tokens: tokens of a title at most, L - 1.
        frozen: whether the weights of the body stay as they are.
        tokenizer: None where the titles' words are known already.
    """

    body: Any
    title_tokens: int
    frozen: bool
    tokenizer: Any = None

    @classmethod
    def pretrained(cls, config: LanguageModelConfig, store: Path, *, causal: bool) -> Self:
        """Load a checkpoint.

        Args:
            config: which one.
            store: folder in which fetched ones are kept.
            causal: whether a state may have read the words before it alone, or must have read
                those behind it, too.

        Raises:
            FeatureError: it can't be fetched or loaded, isn't what it is pinned to, or has no
                safetensors weights.
            ConfigError: it is a network of another kind.
        """
        folder, name = encoder_folder(config, store), identity(config)
        body, tokenizer = _load(folder, name)
        problem = _unfit(body, causal=causal)
        if problem is not None:
            raise ConfigError(
                f"{name} can't be read as a {'causal' if causal else 'two-way'} language model: "
                f"{problem}",
                "evaluation.neural.behaviour_gpt takes GPT-2 and its like, behaviour_bert BERT and "
                "its like",
            )
        return cls(_bare(body), config.title_tokens, config.frozen, tokenizer)

    @classmethod
    def restored(cls, told: dict[str, Any]) -> Self:
        """Return one without weights from what `told` returned."""
        from transformers import AutoConfig, AutoModel

        untyped: Any = AutoModel
        architecture = dict(told["architecture"])
        shape = AutoConfig.for_model(architecture.pop("model_type"), **architecture)
        body = _bare(untyped.from_config(shape, dtype=torch.float32))
        return cls(body, int(told["title_tokens"]), bool(told["frozen"]))

    def told(self) -> dict[str, Any]:
        """Return its shape as plain JSON values, without where it came from."""
        # What a checkpoint says of its own place and past is of no use to a reader.
        left_out = ("_name_or_path", "transformers_version", "architectures", "dtype")
        shape = self.body.config.to_dict()
        return {
            "architecture": {key: value for key, value in shape.items() if key not in left_out},
            "title_tokens": self.title_tokens,
            "frozen": self.frozen,
        }

    @property
    def word_width(self) -> int:
        """Width of its word vectors."""
        return int(self.body.get_input_embeddings().embedding_dim)

    @property
    def state_width(self) -> int:
        """Width of its states."""
        return int(self.body.config.hidden_size)

    def words_of(self, titles: Sequence[str]) -> NDArray[np.int64]:
        """Return the words of each title's beginning and a mark behind them, (I, L)."""
        told = np.full((len(titles), self.title_tokens + 1), PADDING, np.int64)
        told[:, -1] = MARK
        with quiet():
            cut = {"truncation": True, "max_length": self.title_tokens}
            rows = self.tokenizer(list(titles), add_special_tokens=False, **cut)["input_ids"]
        for row, tokens in enumerate(rows):
            told[row, : len(tokens)] = FIRST + np.asarray(tokens, np.int64)
        return told


def events_of(config: LanguageModelConfig, store: Path) -> int | None:
    """Return how many events a checkpoint has places for, the start beside them; None: any number.

    Args:
        config: which one.
        store: folder in which fetched ones are kept.

    Raises:
        FeatureError: it can't be fetched or read.
        ConfigError: it has no place for one event.
    """
    from transformers import AutoConfig

    folder, name = encoder_folder(config, store), identity(config)
    try:
        with quiet():
            shape = AutoConfig.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
    # A damaged file makes the library raise what it likes, down to a bare Exception.
    except Exception as error:
        raise _unreadable(name, folder, error) from error
    places = getattr(shape, "max_position_embeddings", None)
    if places is None:
        return None
    events = (int(places) - 1) // (config.title_tokens + 1)
    if events < 1:
        raise ConfigError(
            f"{name} has {places} places, which do not hold the start and one title of "
            f"{config.title_tokens} tokens with its mark",
            "lower title_tokens in evaluation.neural, or name another checkpoint",
        )
    return events


def _unreadable(name: str, folder: Path, error: Exception) -> FeatureError:
    return FeatureError(
        f"the language model {name} can't be loaded from {folder}: {type(error).__name__}: {error}",
        "name a folder or repository with config.json, a tokenizer and safetensors weights, as "
        "save_pretrained leaves them",
    )


def _load(folder: Path, name: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    settings = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(str(folder), **settings)
            body = AutoModel.from_pretrained(
                # float32 whatever the checkpoint holds: bf16 is very slow on CPUs.
                str(folder),
                use_safetensors=True,
                dtype=torch.float32,
                **settings,
            )
    # A damaged folder makes the library raise what it likes, down to a bare Exception.
    except Exception as error:
        raise _unreadable(name, folder, error) from error
    return body, tokenizer


def _bare(body: Any) -> Any:
    """Take away what makes one vector of a whole text: it is not asked."""
    if getattr(body, "pooler", None) is not None:
        body.pooler = None
    return body


def _unfit(body: Any, *, causal: bool) -> str | None:
    """Say why a network doesn't fit, by what it does with three words; None where it does."""
    if getattr(body.config, "is_encoder_decoder", False):
        return "it is an encoder with a decoder"
    try:
        words = body.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        words = None
    if not isinstance(words, nn.Embedding):
        return "it reads no words"
    random = torch.Generator().manual_seed(0)
    words_13E = torch.randn(1, 3, words.embedding_dim, generator=random)
    other_13E = words_13E.clone()
    # Another vector, not a shifted one: a norm would take the shift away again.
    other_13E[:, -1] = torch.randn(words.embedding_dim, generator=random)
    training = body.training
    body.eval()
    try:
        with torch.inference_mode():
            mask_13 = torch.ones(1, 3, dtype=torch.int64)
            first, second = (
                body(inputs_embeds=each, attention_mask=mask_13).last_hidden_state[:, 0]
                for each in (words_13E, other_13E)
            )
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        return f"it does not read word vectors ({type(error).__name__}: {error})"
    finally:
        body.train(training)
    ahead = not torch.allclose(first, second, atol=_SAME)
    if ahead and causal:
        return "its states have read the words behind them"
    if not ahead and not causal:
        return "its states have not read the words behind them"
    return None
