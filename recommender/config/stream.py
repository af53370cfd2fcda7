"""How events that arrive one by one reach the online sequences."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class StreamConfig(Section):
    """How events that arrive one by one reach the online sequences."""

    batch_size: int = Field(256, ge=1)
    """Most events applied together; more of them cost less each."""

    linger_ms: int = Field(5, ge=0)
    """Longest wait for a batch to fill, milliseconds."""
