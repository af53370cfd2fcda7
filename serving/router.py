"""The one-machine stand-in for the Gateway: two lanes, a sticky weighted split, failover.

On a cluster the Gateway's HTTPRoute does this. Here a small proxy reads `routes.json` and takes
up every change with the next request; requests that are under way end where they began.
Where a request goes, `serving.proxy` tells; `/healthz` and `/routes` are the router's own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from recommender.privacy import pseudonyms
from serving import observed
from serving.current_routes import RoutesFile
from serving.mirror import Mirror
from serving.observed import Writer
from serving.proxy import Proxy
from serving.routes import LANES

_CONNECT_S, _ANSWER_S = 1.0, 15.0
# KServe closes an idle connection after 65 s; we must be the first, or a request meets the end.
_IDLE_S = 30.0


def application(path: Path, keys: Path | None = None) -> Starlette:
    """Return the router as an ASGI application.

    Args:
        path: of `routes.json`.
        keys: folder of the pseudonyms' key; without it, nothing is written down or copied.
    """
    folder = observed.folder_of(path)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        limits = httpx.Limits(max_connections=256, keepalive_expiry=_IDLE_S)
        timeout = httpx.Timeout(_ANSWER_S, connect=_CONNECT_S)
        # `trust_env` would send loopback requests through a configured proxy.
        seen, compared = Writer(folder / "live"), Writer(folder / "shadow")
        async with (
            httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False) as client,
            httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False) as other,
        ):
            copies = Mirror(other, compared)
            names = pseudonyms(keys) if keys else None
            app.state.proxy = Proxy(RoutesFile(path), client, seen, copies, names)
            flushing = asyncio.create_task(_flush_often(seen, compared))
            yield
            flushing.cancel()
            await copies.close()
            seen.flush()
            compared.flush()

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "routes": str(path)})

    async def status(request: Request) -> Response:
        proxy: Proxy = request.app.state.proxy
        now = proxy.routes.current()
        lanes = {
            lane: {"arms": [vars(arm) for arm in now.lane(lane)], "counts": proxy.counts[lane]}
            for lane in LANES
        }
        shadow = {"arm": now.shadow and vars(now.shadow), "counts": proxy.copies.counts}
        told = {"lanes": lanes, "shadow": shadow, "salt": now.salt}
        return JSONResponse(told | {"error": proxy.routes.error})

    async def proxied(request: Request) -> Response:
        proxy: Proxy = request.app.state.proxy
        return await proxy.handle(request)

    own = [Route("/healthz", health), Route("/routes", status)]
    methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]
    return Starlette(
        routes=[*own, Route("/{path:path}", proxied, methods=methods)], lifespan=lifespan
    )


async def _flush_often(*writers: Writer) -> None:
    while True:
        await asyncio.sleep(observed.FLUSH_S)
        for writer in writers:
            writer.flush()


def main(arguments: list[str] | None = None) -> None:
    """Run the router until SIGTERM; requests that are under way are answered first."""
    import uvicorn

    parser = argparse.ArgumentParser(prog="python -m serving.router", description=main.__doc__)
    parser.add_argument("--routes", type=Path, required=True, help="routes.json")
    parser.add_argument("--keys", type=Path, help="folder of the key that pseudonyms are made by")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request
    uvicorn.run(
        application(given.routes.absolute(), given.keys),
        host=given.host,
        port=given.port,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=20,
    )


if __name__ == "__main__":
    main()
