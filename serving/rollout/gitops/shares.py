"""Who is served, as the bot writes it down in its folder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """A version, as a cluster is told of it.

    Attributes:
        version: in the registry.
        storage_uri: its immutable place.
        runtime: name of its ServingRuntime.
    """

    version: str
    storage_uri: str
    runtime: str


@dataclass(frozen=True)
class Shares:
    """Who is served.

    Attributes:
        stable: who gets everything but the candidate's share; None before the first model.
        candidate: who gets a share, or None.
        percent: the candidate's share.
        rolled_back: whether the last candidate was taken back.
    """

    stable: Model | None
    candidate: Model | None = None
    percent: int = 0
    rolled_back: bool = False


@dataclass(frozen=True)
class Found:
    """What the bot's folder says.

    Attributes:
        shares: who is served.
        rollout: id of the rollout that wrote it; "" for none.
        edited: what is not as the bot left it, "" if everything is.
    """

    shares: Shares
    rollout: str = ""
    edited: str = ""
