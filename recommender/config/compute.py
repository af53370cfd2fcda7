"""How the endpoint computes its answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recommender.config.section import Section


class ComputeConfig(Section):
    """How the endpoint computes its answers."""

    engine: Literal["auto", "eager", "onnx"] = "auto"
    """`eager`: PyTorch, reading only what a request needs; `onnx`: ONNX Runtime, which needs a
    model that was exported (`compute.export`); `auto`: ONNX where the model brings it."""

    export: bool = False
    """Whether training leaves ONNX files of both entry points beside the weights, which they
    share. It takes half a minute or more."""

    batch: int = Field(32, ge=1)
    """Asks that share one computation, at most."""

    queue: int = Field(1024, ge=1)
    """Asks that may wait to be computed; beyond it requests are refused (503)."""

    explanations: int = Field(32, ge=1)
    """Asks that may wait to be explained, which takes as long as many recommendations; beyond it
    requests are refused (503)."""

    states_mb: float = Field(64.0, ge=0)
    """Memory for the states of the histories that were asked about last."""

    keys_values: bool = False
    """Whether keys and values are kept, too, so that a history that has grown by an event is read
    on from where it was: about 0.3 MB for each history of 200 events at width 96 (`eager` only)."""

    approximate_from: int = Field(200_000, ge=4096)
    """Items from which on an index proposes the best ones, instead of scoring all of them
    (`eager` only). Below it that gains little."""

    recall: float = Field(0.99, gt=0.5, lt=1)
    """Share of the exact best hundred that such an index must find, on average."""
