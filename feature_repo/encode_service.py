"""Text to vectors over HTTP: a new item has its vector at once, without a run of the pipeline.

    python -m feature_repo.encode_service configs/synthetic.yaml --port 8087

    POST /encode   {"texts": ["Red scarf", …]}  or
                   {"items": [{"title": "Scarf", "text": …, "brand": …, "categories": […]}, …]},
                   and "encoder": a slug of features.text.also, where it isn't the main one
    GET  /health   which encoders are loaded
    GET  /metrics  for Prometheus

Texts about people don't belong here: what it encodes stays in the cache of item text.

Items are told in the same words as the pipeline tells them, and share its cache: the vector is the
one that the next publication will hold. Where `OSTINATO_ENCODER_TOKEN` is set, /encode wants it
as a bearer token; without one, only this machine is listened to.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import ipaddress
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recommender.config import Config, load
from recommender.errors import ConfigError, FeatureError, ServingError, UserError
from recommender.features.language import languages
from recommender.features.live_encoder import EncoderBusyError, LiveEncoder, TextVector
from recommender.features.text import clean, sentence

TOKEN_VARIABLE = "OSTINATO_ENCODER_TOKEN"  # noqa: S105 - a name, not the token

MOST_BYTES = 4 * 2**20
MOST_TEXTS = 256
_TIMEOUT_S = 30.0
_GRACE_S = 5
"""For what is under way; also for idle TLS connections, which a client closes when it likes."""


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Item(_Asked):
    """What is said about an item, as in the canonical item table."""

    title: str | None = None
    text: str | None = None
    brand: str | None = None
    categories: tuple[str | None, ...] | None = None


class Question(_Asked):
    """The body of a request: texts or items."""

    texts: Annotated[tuple[str, ...], Field(max_length=MOST_TEXTS)] = ()
    items: Annotated[tuple[Item, ...], Field(max_length=MOST_TEXTS)] = ()
    encoder: str = ""


class RefusedError(ServingError):
    """A request that isn't answered.

    Args:
        status: of the answer.
        message: what is wrong.
        hint: what to do.
    """

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


def make_app(encoders: Mapping[str, LiveEncoder], token: str | None) -> FastAPI:
    """Return the service.

    Args:
        encoders: by slug; the main one's is empty. They are closed with the service.
        token: that callers must bring, if any.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        for each in encoders.values():
            await asyncio.to_thread(each.close)

    app = FastAPI(title="Ostinato text encoder", lifespan=life, docs_url=None, redoc_url=None)

    @app.exception_handler(UserError)
    async def told(_: Request, error: UserError) -> Response:
        status = 500
        if isinstance(error, RefusedError):
            status = error.status
        elif isinstance(error, EncoderBusyError):
            status = 503
        elif isinstance(error, FeatureError):
            status = 422
        headers = {503: {"Retry-After": "1"}, 401: {"WWW-Authenticate": "Bearer"}}.get(status)
        return JSONResponse({"error": error.message, "hint": error.hint}, status, headers)

    @app.post("/encode")
    async def encode(request: Request) -> Response:
        _authorize(request, token)
        asked = _question(await _body(request))
        encoder = encoders.get(asked.encoder)
        if encoder is None:
            known = ", ".join(repr(slug) for slug in encoders)
            raise RefusedError(404, f"there is no encoder {asked.encoder!r}", f"one of {known}")
        texts = [clean(text) for text in asked.texts] or [
            sentence(each.title, each.text, each.brand, each.categories) for each in asked.items
        ]
        futures = [asyncio.wrap_future(each) for each in encoder.submit(texts)]
        try:
            made = await asyncio.wait_for(asyncio.gather(*futures), _TIMEOUT_S)
        except TimeoutError:
            raise RefusedError(
                503, f"no answer from the encoder within {_TIMEOUT_S:.0f} s", "try again later"
            ) from None
        return JSONResponse(_answer(encoder, texts, made))

    @app.get("/health")
    async def health() -> dict[str, Any]:
        loaded = {
            slug or "main": {"encoder": each.name, "width": each.width}
            for slug, each in encoders.items()
        }
        return {"status": "ready", "encoders": loaded}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(_metrics(encoders), media_type="text/plain; version=0.0.4")

    return app


def open_encoders(config: Config) -> dict[str, LiveEncoder]:
    """Load every configured encoder, by slug; the main one's is empty.

    Raises:
        FeatureError: one can't be fetched or loaded.
    """
    text, cache = config.features.text, config.paths.cache
    return {slug: LiveEncoder(each, cache) for slug, each in [("", text), *_further(config)]}


def _further(config: Config) -> list[tuple[str, Any]]:
    return [(each.slug, each) for each in config.features.text.also]


def _authorize(request: Request, token: str | None) -> None:
    if token is None:
        return
    given = request.headers.get("Authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise RefusedError(401, "the bearer token is missing or wrong", f"see {TOKEN_VARIABLE}")


async def _body(request: Request) -> bytes:
    """Read the body; stop as soon as it is too large, whatever its header says."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise RefusedError(
                413, f"the request is larger than {MOST_BYTES // 2**20} MiB", "send fewer texts"
            )
    return bytes(body)


def _question(body: bytes) -> Question:
    try:
        asked = Question.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise RefusedError(
            422, f"{where}: {first['msg']}", "see the head of this service"
        ) from None
    if bool(asked.texts) == bool(asked.items):
        raise RefusedError(422, "the body must hold either texts or items", "and one at least")
    return asked


def _answer(encoder: LiveEncoder, texts: list[str], made: list[TextVector]) -> dict[str, Any]:
    tokens = np.array([each.tokens for each in made], np.int32)
    unknown = np.array([each.unknown for each in made], np.int32)
    spoken = languages(texts, tokens, unknown)
    return {
        "encoder": encoder.name,
        "texts": texts,
        "vectors": [each.vector.tolist() for each in made],
        "content_hashes": [each.content_hash for each in made],
        "cached": [each.cached for each in made],
        "unknown_languages": {each.name: each.unknown_rate for each in spoken if not each.known},
    }


def _metrics(encoders: Mapping[str, LiveEncoder]) -> bytes:
    from prometheus_client import CollectorRegistry, Counter, generate_latest

    registry = CollectorRegistry()
    texts = Counter("encoder_texts", "Texts answered.", ["encoder", "source"], registry=registry)
    passes = Counter("encoder_passes", "Batches encoded.", ["encoder"], registry=registry)
    for each in encoders.values():
        texts.labels(each.name, "encoded").inc(each.work.encoded)
        texts.labels(each.name, "cached").inc(each.work.cached)
        passes.labels(each.name).inc(each.work.passes)
    return generate_latest(registry)


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM."""
    given = _parser().parse_args(arguments)
    token = os.environ.get(TOKEN_VARIABLE) or None
    try:
        _refuse_open_door(given.host, token)
        app = make_app(open_encoders(load(given.config)), token)
    except UserError as error:
        raise SystemExit(f"encode service: {error}") from None
    import uvicorn

    uvicorn.run(
        app,
        host=given.host,
        port=given.port,
        ssl_certfile=given.certificate,
        ssl_keyfile=given.key,
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_S,
    )


def _refuse_open_door(host: str, token: str | None) -> None:
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local and token is None:
        raise ConfigError(
            f"the encode service would answer anyone who reaches {host}",
            f"set {TOKEN_VARIABLE}, or listen to 127.0.0.1 only",
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m feature_repo.encode_service")
    parser.add_argument("config", type=Path, help="configuration of the data set")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen to")
    parser.add_argument("--port", type=int, default=8087, help="port to listen to")
    parser.add_argument("--certificate", help="PEM file, for TLS")
    parser.add_argument("--key", help="PEM file of the certificate's key")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
