"""The computation behind a served model: shared between requests, refused when too many wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kserve.errors import ServerNotReady

from recommender.config.compute import ComputeConfig
from serving.ask import Ask
from serving.compute.batcher import Batch, Batcher, ClosedError, OverloadedError
from serving.ranking import Answer, Found

Work = Callable[[Sequence[Ask], Sequence[Found]], list[Answer]]


class BusyError(ServerNotReady):  # type: ignore[misc]  # kserve is untyped
    """Too many requests wait: HTTP 503, gRPC UNAVAILABLE.

    Args:
        reason: what is too much.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        # KServe's gRPC server reads this, which its own error lacks.
        self.reason = reason

    def __str__(self) -> str:
        return str(self.reason)


class Worker:
    """Answers asks in a thread of its own, those of concurrent requests together.

    It is not closed on SIGTERM: what is under way must be answered, and its thread ends with the
    process.

    Args:
        work: ranks.
        config: limits.
        observe: told of every batch.
    """

    def __init__(
        self, work: Work, config: ComputeConfig, observe: Callable[[Batch], None] | None = None
    ) -> None:
        self._batcher: Batcher[Ask, Found, Answer] = Batcher(
            work, most=config.batch, queue=config.queue, observe=observe
        )

    async def answer(self, asks: Sequence[Ask], found: Sequence[Found]) -> list[Answer]:
        """Answer one request.

        Raises:
            BusyError: too many wait already.
        """
        try:
            return await self._batcher.answer(asks, found)
        except (OverloadedError, ClosedError) as error:
            raise BusyError(error.message) from None

    def close(self) -> None:
        """Answer what waits, and end the thread."""
        self._batcher.close()
