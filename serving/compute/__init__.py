"""Where answers are computed: threads of their own, and requests that share one computation."""

from serving.compute.batcher import Batch, Batcher, ClosedError, OverloadedError

__all__ = ["Batch", "Batcher", "ClosedError", "OverloadedError"]
