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

    future_tolerance_s: float = Field(300.0, ge=0)
    """How far ahead of this machine's clock an event may claim to be; later ones are rejected."""

    clock_skew_ms: int = Field(5_000, ge=0)
    """How far the clocks of those who write streams and those who read batches may be apart. A
    publication keeps streamed events that arrived up to this long before it began to read."""

    max_id_length: int = Field(256, ge=1, le=4_096)
    """Longest id (of an event, a user, an item) or surface that is accepted, characters."""

    max_body_kib: int = Field(1_024, ge=1)
    """Largest HTTP request with events that is read, KiB."""

    retry_s: float = Field(60.0, gt=0)
    """How long a store that can't be reached is tried again, with growing pauses, before a
    consumer gives up; nothing is acknowledged meanwhile."""

    compact_files: int = Field(500, ge=2)
    """Landed files after which a consumer joins them into one."""
