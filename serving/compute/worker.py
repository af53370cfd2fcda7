"""The computation behind a served model: shared between requests, refused when too many wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic

from kserve.errors import ServerNotReady

from serving.compute.batcher import (
    AnswerT,
    AskT,
    Batch,
    Batcher,
    ClosedError,
    FoundT,
    OverloadedError,
)


class BusyError(ServerNotReady):  # type: ignore[misc]  # kserve is untyped
    """This server can't take the request: HTTP 503, gRPC UNAVAILABLE.

    Args:
        reason: why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        # KServe's gRPC server reads this, which its own error lacks.
        self.reason = reason

    def __str__(self) -> str:
        return str(self.reason)


class FullError(BusyError):
    """Too many requests wait: HTTP 503, gRPC RESOURCE_EXHAUSTED, which no client repeats at once.

    Args:
        reason: what is too much.
    """


class Worker(Generic[AskT, FoundT, AnswerT]):
    """Answers asks in a thread of its own, those of concurrent requests together.

    It is not closed on SIGTERM: what is under way must be answered, and its thread ends with the
    process.

    Args:
        work: answers asks.
        batch: asks that share one computation, at most.
        queue: asks that may wait.
        observe: told of every batch.
    """

    def __init__(
        self,
        work: Callable[[Sequence[AskT], Sequence[FoundT]], list[AnswerT]],
        *,
        batch: int,
        queue: int,
        observe: Callable[[Batch], None] | None = None,
    ) -> None:
        self._batcher: Batcher[AskT, FoundT, AnswerT] = Batcher(
            work, most=batch, queue=queue, observe=observe
        )

    def admit(self, asks: int) -> None:
        """Refuse a request at its start that would be refused in the end.

        Args:
            asks: of the request.

        Raises:
            FullError: too many wait already.
        """
        if not self._batcher.has_room(asks):
            raise FullError(self._batcher.refusal().message)

    async def answer(self, asks: Sequence[AskT], found: Sequence[FoundT]) -> list[AnswerT]:
        """Answer one request.

        Raises:
            FullError: too many wait already.
            BusyError: the worker was closed.
        """
        try:
            return await self._batcher.answer(asks, found)
        except OverloadedError as error:
            raise FullError(error.message) from None
        except ClosedError as error:
            raise BusyError(error.message) from None

    def close(self) -> None:
        """Answer what waits, and end the thread."""
        self._batcher.close()
