"""POST /v1/feedback: what came of a shown item, by the request id of its list.

| answer | means |
|---|---|
| 200 | kept; `counted` were new, `repeated` were known, `streamed` are in the user's sequence |
| 400 | the body is wrong; it names what and where |
| 403 | a request id is none of ours, or the list was made for another user |
| 404 | the list did not show that item |
| 410 | the request id has expired |
| 413 | the body is too large |
| 503 | it can't be kept now; send the same again |

After anything but 200 nothing of the request was kept. Sending again is always safe.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from recommender.config.feedback import FeedbackConfig
from recommender.errors import StorageError
from serving.feedback.forward import Stream
from serving.feedback.ledger import Ledger
from serving.feedback.report import (
    Feedback,
    InvalidFeedbackError,
    Told,
    event_id,
    read_feedback,
)
from serving.feedback.request_id import InvalidRequestIdError, SignedIds

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

PATH = "/v1/feedback"
_RETRY_AFTER_S = 2
_SHOWN = 20

logger = logging.getLogger("ostinato.feedback")


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Door:
    """Takes feedback.

    Args:
        ids: check request ids.
        ledger: keeps what counts.
        config: sizes and waits.
        actions: the event types there are.
        suppressed: tells of a user id whether that user asked to be forgotten.
        count: called with an outcome and how many had it.
        acted: called with a model version and an action for each that is new.
    """

    def __init__(
        self,
        ids: SignedIds,
        ledger: Ledger,
        config: FeedbackConfig,
        actions: Sequence[str],
        suppressed: Callable[[str], bool] = lambda _: False,
        count: Callable[[str, int], None] = lambda _outcome, _count: None,
        acted: Callable[[str, str], None] = lambda _version, _action: None,
    ) -> None:
        self._ids = ids
        self._ledger = ledger
        self._config = config
        self._actions = tuple(actions)
        self._suppressed = suppressed
        self._count = count
        self._acted = acted
        self._stream = Stream(config.stream_url) if config.stream_url else None

    def add_to(self, app: FastAPI) -> None:
        """Add the endpoint to an application.

        Args:
            app: KServe's, say: then it is on the port of the predictions.
        """
        from fastapi import Request, Response

        async def route(request: Request) -> Response:
            return await self.take(request)

        # This module's annotations are texts, which FastAPI could not look up.
        route.__annotations__ = {"request": Request, "return": Response}
        app.add_api_route(PATH, route, methods=["POST"])

    async def take(self, request: Request) -> Response:
        """Answer a request with feedback."""
        body = await self._body(request)
        if body is None:
            self._count("refused", 1)
            most = self._config.max_body_kib
            return _answer(413, {"error": f"the body is larger than {most} KiB"})
        try:
            told = read_feedback(body, self._config.max_batch)
        except InvalidFeedbackError as error:
            self._count("refused", 1)
            return _answer(400, {"error": str(error)})
        kept, wrong = self._checked(told)
        if wrong:
            self._count("refused", len(told))
            first = wrong[0]
            count = f" ({len(wrong)} of {len(told)} are wrong; none was kept)"
            more = count if len(told) > 1 else ""
            shown = [{"index": index, "error": str(error)} for index, error in wrong[:_SHOWN]]
            return _answer(first[1].status, {"error": f"{first[1]}{more}", "feedback": shown})
        try:
            new = await asyncio.to_thread(self._ledger.take, [one for _, one, _ in kept])
        except StorageError as error:
            logger.warning("answered 503: %s", error.message)
            self._count("failed", len(told))
            later = {"Retry-After": str(_RETRY_AFTER_S)}
            return _answer(503, {"error": "feedback can't be kept now"}, later)
        self._count("counted", sum(new))
        self._count("repeated", len(new) - sum(new))
        for (_, one, version), fresh in zip(kept, new, strict=True):
            if fresh:
                self._acted(version, one.action)
        streamed = await self._send_on(kept)
        return _answer(
            200, {"counted": sum(new), "repeated": len(new) - sum(new), "streamed": streamed}
        )

    async def _send_on(self, kept: Sequence[tuple[str | None, Feedback, str]]) -> int:
        """Send on what names its user; return how many are in their sequences."""
        named = [
            (user, one) for user, one, _ in kept if user is not None and not self._suppressed(user)
        ]
        if self._stream is None or not named:
            return 0
        # Repeated ones too: the first time the stream may have been away, and it counts once.
        done = await self._stream.send(named)
        self._count("streamed" if done else "not_streamed", len(named))
        return len(named) if done else 0

    def _checked(
        self, told: Sequence[Told]
    ) -> tuple[list[tuple[str | None, Feedback, str]], list[tuple[int, _RefusedError]]]:
        kept, wrong = [], []
        now = time.time_ns() // 1_000_000
        for index, one in enumerate(told):
            try:
                kept.append((one.user_id, *self._feedback(one, now)))
            except _RefusedError as error:
                wrong.append((index, error))
        return kept, wrong

    def _feedback(self, told: Told, now: int) -> tuple[Feedback, str]:
        """Return feedback as it counts, and the version that made its list."""
        if told.action not in self._actions:
            known = ", ".join(self._actions)
            raise _RefusedError(400, f"action {told.action!r:.60} is unknown; known are {known}")
        try:
            request = self._ids.read(told.request_id, now)
        except InvalidRequestIdError as error:
            raise _RefusedError(410 if "expired" in str(error) else 403, str(error)) from None
        if told.user_id is not None and not self._ids.is_of(request, told.user_id):
            raise _RefusedError(403, "user_id is not whom the list was made for")
        if not request.shows(told.item_id):
            raise _RefusedError(404, f"item_id {told.item_id!r:.60} was not in that list")
        at = now if told.time is None else told.time
        tolerance = 1000 * self._config.clock_tolerance_s
        if at < request.time - tolerance:
            raise _RefusedError(400, "time is before the list was made")
        if at > now + tolerance:
            raise _RefusedError(400, "time is ahead of this machine's clock")
        name = event_id(told.request_id, told.item_id, told.action)
        counted = Feedback(
            name,
            told.request_id,
            told.item_id,
            told.action,
            # Clocks differ a little: nothing comes of a list before it was made.
            max(request.time, min(at, now)),
            told.value,
            now,
        )
        return counted, request.version

    async def _body(self, request: Request) -> bytes | None:
        """Return the body, or None if it is too large; no more of it is read then."""
        most = 1024 * self._config.max_body_kib
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > most:
            return None
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                return None
        return bytes(body)


def _answer(status: int, told: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    from fastapi.responses import JSONResponse

    return JSONResponse(told, status, headers)
