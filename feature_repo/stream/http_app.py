"""The HTTP door for events: CloudEvents in, an answer after their effects.

| answer | means |
|---|---|
| 200 | every event of the request has landed and is in its sequence |
| 400 | no event of the request was taken; the body names each wrong field and its value |
| 401 | no or a wrong bearer token |
| 413 | the body is larger than `features.stream.max_body_kib` |
| 503 | a store can't be written now; send the same request again after `Retry-After` seconds |
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from feature_repo.stream.batching import Batches, TooManyWaitingError
from feature_repo.stream.cloud_events import read_cloud_events
from feature_repo.stream.event import RejectedEventError, StreamEvent, read_event
from feature_repo.stream.retry import PASSING
from feature_repo.stream.working import Worker
from recommender.config.stream import StreamConfig

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

_BLINK_S = 1.0
"""How long a store may be away before we say so: senders try again by themselves."""

_RETRY_AFTER_S = 2
_SHOWN = 20

logger = logging.getLogger("ostinato.stream")


class _TooLargeError(Exception):
    pass


def make_app(worker: Worker, stream: StreamConfig, token: str | None) -> FastAPI:
    """Return the application.

    Args:
        worker: applies the events; closed with the application.
        stream: sizes and waits.
        token: that every request with events must bear; None lets everybody in.
    """
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    door = _Door(worker, stream, token)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        door.batches.start()
        yield
        await door.batches.stop()
        await asyncio.to_thread(worker.close)

    app = FastAPI(
        title="Ostinato events", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.add_api_route("/events", _routed(door.take), methods=["POST"])
    app.add_api_route("/readyz", _routed(door.ready), methods=["GET"])

    @app.get("/healthz")
    async def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        text = worker.metrics.text().decode()
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    return app


def _routed(handler: Any) -> Any:
    """Let FastAPI see the type of the request, which this module only knows when it serves."""
    from fastapi import Request, Response

    async def route(request: Request) -> Response:
        answered: Response = await handler(request)
        return answered

    route.__annotations__ = {"request": Request, "return": Response}
    return route


class _Door:
    def __init__(self, worker: Worker, stream: StreamConfig, token: str | None) -> None:
        self._worker = worker
        self._most = stream.max_body_kib * 1024
        self._token = None if token is None else token.encode()
        self.batches = Batches(
            lambda events: worker.apply(events, _BLINK_S),
            stream.batch_size,
            stream.linger_ms / 1000,
        )

    async def take(self, request: Request) -> Response:
        """Answer a request with events."""
        if not self._may_enter(request.headers.get("authorization", "")):
            return _answer(
                401, {"error": "a bearer token is needed"}, {"WWW-Authenticate": "Bearer"}
            )
        try:
            body = await self._body(request)
            events, wrong = self._read(dict(request.headers), body)
        except _TooLargeError:
            return _answer(413, {"error": f"the body is larger than {self._most} bytes"})
        except RejectedEventError as error:
            self._worker.metrics.rejected()
            return _answer(400, {"error": error.message, "field": error.field})
        if wrong:
            self._worker.metrics.rejected(len(wrong))
            message = f"{len(wrong)} of {len(wrong) + len(events)} events are wrong; none was taken"
            return _answer(400, {"error": message, "events": wrong[:_SHOWN], **_first(wrong)})
        try:
            await self.batches.submit(events)
        except TooManyWaitingError:
            return _answer(503, {"error": "too many requests wait already"}, _later())
        except PASSING as error:
            logger.warning("answered 503: %s", error.message)
            return _answer(503, {"error": "a store can't be written now"}, _later())
        return _answer(200, {"accepted": len(events)})

    async def ready(self, request: Request) -> Response:
        """Say whether events could be applied now."""
        del request
        try:
            await asyncio.to_thread(self._worker.sink.ready)
        except PASSING as error:
            logger.warning("not ready: %s", error.message)
            return _answer(503, {"error": "a store can't be reached now"}, _later())
        return _answer(200, {"ready": True})

    def _may_enter(self, authorization: str) -> bool:
        if self._token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        # In constant time: how long the answer takes must not tell how much was right.
        right = hmac.compare_digest(given.strip().encode(), self._token)
        return right and scheme.lower() == "bearer"

    async def _body(self, request: Request) -> bytes:
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._most:
            raise _TooLargeError
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._most:
                raise _TooLargeError
        return bytes(body)

    def _read(
        self, headers: dict[str, str], body: bytes
    ) -> tuple[list[StreamEvent], list[dict[str, Any]]]:
        events, wrong = [], []
        sink = self._worker.sink
        now = sink.clock()
        for index, fields in enumerate(read_cloud_events(headers, body)):
            try:
                events.append(read_event(fields, sink.rules, now))
            except RejectedEventError as error:
                wrong.append({"index": index, "error": error.message, "field": error.field})
        return events, wrong


def _first(wrong: list[dict[str, Any]]) -> dict[str, Any]:
    return {"field": wrong[0]["field"]}


def _later() -> dict[str, str]:
    return {"Retry-After": str(_RETRY_AFTER_S)}


def _answer(status: int, told: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    from fastapi.responses import JSONResponse

    return JSONResponse(told, status, headers)
