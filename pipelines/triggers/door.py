"""The HTTP door for what starts runs: CloudEvents and S3 notifications in.

| answer | means |
|---|---|
| 202 | written down; a run follows, or the run of what else waits is this one's too |
| 400 | not an event that could start a run; nothing of the body counts |
| 401 | no or a wrong token or signature |
| 413 | the body is larger than `triggers.most_body_kib` |
| 422 | it names data that aren't there, or aren't this data set's |
| 429 | too many requests of this caller; ask again after `Retry-After` seconds |
| 503 | the store or the book is away; ask again after `Retry-After` seconds |

Send the same event again after 401, 429, 5xx or no answer: the same event twice is one run. After
400, 413 or 422 don't: it will never be taken.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pipelines.triggers.book import Book
from pipelines.triggers.cause import Cause, InvalidCauseError, read
from pipelines.triggers.guard import Guard
from pipelines.triggers.keeper import Keeping
from pipelines.triggers.metrics import TriggerMetrics
from recommender.errors import StorageError, UserError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

logger = logging.getLogger("ostinato.triggers")


class NoSuchDataError(UserError):
    """An event names data that aren't there, or aren't this data set's."""


class _TooLargeError(Exception):
    pass


def make_app(
    book: Book,
    guard: Guard,
    most_bytes: int,
    look: Callable[[Sequence[Cause]], None],
    metrics: TriggerMetrics | None = None,
    keeping: Keeping | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        book: gets the causes.
        guard: of the door.
        most_bytes: of a body.
        look: given the causes of a request, raises `NoSuchDataError` if data of one aren't there.
        metrics: what /metrics shows; None: those of the book.
        keeping: works while the server runs, and says at /healthz whether it does; None: nobody.
    """
    from anyio import to_thread
    from fastapi import FastAPI
    from fastapi.responses import JSONResponse, PlainTextResponse

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if keeping is None:
            yield
            return
        keeping.begin()
        yield
        await to_thread.run_sync(keeping.end)

    async def events(request: Request) -> Response:
        caller = request.client.host if request.client else ""
        if guard.too_often(caller):
            return _refused(429, "too many requests", {"retry-after": "60"})
        try:
            body = await _body(request, most_bytes)
        except _TooLargeError:
            return _refused(413, f"the body is larger than {most_bytes} bytes")
        if not guard.admits(request.headers, body):
            return _refused(401, "send a bearer token or a signature")
        if "ce-id" in request.headers and not guard.vouches_for_headers(request.headers):
            return _refused(400, "a signature covers the body alone: send a structured event")
        try:
            causes = read(_decoded(request, body))
            new = await to_thread.run_sync(_taken, causes)
        except InvalidCauseError as error:
            return _refused(400, str(error))
        except RecursionError:
            return _refused(400, "the body is nested too deeply")
        except NoSuchDataError as error:
            return _refused(422, str(error))
        except StorageError as error:
            return _refused(503, str(error), {"retry-after": "10"})
        except sqlite3.Error as error:
            return _refused(503, f"the book can't be written: {error}", {"retry-after": "10"})
        return JSONResponse({"received": len(causes), "new": new}, 202)

    def _taken(causes: list[Cause]) -> int:
        look(causes)
        return book.add(causes, time.time())

    async def figures(_: Request) -> Response:
        text = await to_thread.run_sync((metrics or TriggerMetrics(book)).text)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def health(_: Request) -> Response:
        if keeping is not None and not keeping.well():
            return _refused(503, "nobody looks after runs any more; restart this server")
        return JSONResponse({"status": "ok"})

    async def status(request: Request) -> Response:
        if not guard.admits(request.headers, b""):
            return _refused(401, "send a bearer token or a signature")
        runs = await to_thread.run_sync(book.latest, 20)
        waiting = await to_thread.run_sync(book.waiting)
        return JSONResponse(
            {
                "waiting": [cause.why for cause in waiting],
                "runs": [
                    {
                        "id": r.id,
                        "pipeline": r.pipeline,
                        "state": r.state,
                        "why": [c.why for c in r.causes],
                    }
                    for r in runs
                ],
            }
        )

    app = FastAPI(
        title="Ostinato triggers",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    # Bodies are read by ourselves, and no further than they may go on.
    app.add_route("/events", events, methods=["POST"])
    app.add_route("/status", status)
    app.add_route("/healthz", health)
    app.add_route("/metrics", figures)
    return app


def _refused(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    from fastapi.responses import JSONResponse

    logger.warning("refused (%d): %s", status, error)
    return JSONResponse({"error": error}, status, headers)


async def _body(request: Request, most: int) -> bytes:
    """Read a body piece by piece, and stop reading as soon as it is too large."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise _TooLargeError
    return body


def _decoded(request: Request, body: bytes) -> Any:
    """Decode a body; in CloudEvents' binary mode the envelope is in the headers."""
    try:
        data: Any = json.loads(body) if body else None
    except ValueError:
        raise InvalidCauseError("the body is not JSON") from None
    headers = request.headers
    if "ce-id" not in headers:
        return data
    envelope = {key: headers.get(f"ce-{key}") for key in ("id", "source", "type")}
    return {**envelope, "data": data}
