"""Where served lists are logged, and what the next run makes of them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recommender.config.section import Section


class ServedLogConfig(Section):
    """Where served lists and feedback are logged, and what the next run makes of them."""

    sink: Literal["parquet", "http", "none"] = "parquet"
    """`parquet`: files in a folder or on S3. `http`: CloudEvents to a broker, KServe's logger or
    anything else that takes them. `none`: nowhere."""

    location: str = ""
    """For `parquet`: a folder or `s3://bucket/prefix` that gets `served/` and `feedback/`; default:
    the workspace."""

    url: str = Field("", pattern=r"^(https?://\S+)?$")
    """For `http`: where events are posted to. A bearer token comes from the environment variable
    `OSTINATO_LOG_TOKEN`."""

    rotate_s: float = Field(10.0, gt=0, le=3600)
    """Longest time that a list waits before it is written: what a killed server loses at most."""

    rotate_lists: int = Field(1000, ge=1)
    """Lists after which a file is written before that time."""

    queue: int = Field(10_000, ge=1)
    """Lists that may wait for the writer; with more, further ones are dropped and counted."""

    attempts: int = Field(4, ge=1, le=10)
    """How often a write is tried, with growing pauses, before its lists are dropped and counted."""

    timeout_s: float = Field(5.0, gt=0)
    """Longest wait for one answer of `url`."""

    lines: bool = True
    """Whether the server writes a line of its own log per answer (JSON, users as pseudonyms)."""

    ingest: bool = True
    """Whether the next run adds what was shown, and what came of it, to its events. Turn it off
    where the source's own log holds them already."""

    impression: str | None = None
    """The event type of an item that was shown and came to nothing; default: `impression` where
    `actions.types` has it. Without such a type only what came of lists is added."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.sink == "http" and not self.url:
            raise ValueError("sink: http needs a url")
        return self
