"""How the sequences of all users are built."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recommender.config.section import Section


class BuildConfig(Section):
    """How the sequences of all users are built. Every choice gives the same rows."""

    engine: Literal["local", "ray"] = "local"
    """`local`: one process, out of core. `ray`: the same work as Ray tasks, on the cluster that
    RAY_ADDRESS or `address` names, or on a Ray of this machine's own."""

    address: str = Field("", pattern=r"^(ray://\S+:\d+)?$")
    """Of a Ray cluster, `ray://HOST:PORT`, the port being that of Ray's clients (10001).
    RAY_ADDRESS goes before it. A cluster that asks who calls gets the token in RAY_AUTH_TOKEN."""

    events_per_bucket: int = Field(2_000_000, ge=1)
    """Events that one process holds at a time, on average. Larger logs are divided by user into
    so many buckets; memory grows with the bucket (about 600 bytes an event), not with the log."""

    workers: int = Field(2, ge=1)
    """Processes of a Ray that is started here; a cluster has as many as it has."""
