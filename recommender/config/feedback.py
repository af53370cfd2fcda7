"""Clicks and conversions that are told to the model server."""

from __future__ import annotations

from pydantic import Field

from recommender.config.section import Section


class FeedbackConfig(Section):
    """Clicks and conversions that are told to the model server, by the request id of the list."""

    expires_s: float = Field(86_400.0, gt=0)
    """How long after a list its request id is accepted."""

    attribution_s: float = Field(86_400.0, gt=0)
    """Longest time from a list to what is still put down to it, in the tables that the next run
    and the evaluation read."""

    max_body_kib: int = Field(256, ge=1)
    """Largest body that is read, KiB."""

    max_batch: int = Field(256, ge=1)
    """Most clicks and conversions in one body."""

    clock_tolerance_s: float = Field(300.0, ge=0)
    """How far the clocks of those who tell clicks may be from this machine's."""

    outbox: str = ""
    """File of feedback that waits to be written, and of what was told already; default:
    `feedback/outbox.db` in the workspace. Servers that share it count everything once at once."""

    stream_url: str = Field("", pattern=r"^(https?://\S+)?$")
    """The `/events` of `ostinato stream http`: feedback that names its user is sent on to it, so
    that it changes the user's next recommendation; default: it isn't. The token comes from
    `OSTINATO_STREAM_TOKEN`."""
