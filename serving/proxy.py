"""Passes a request on to the arm that it belongs to.

- A request goes to the lane `live`, or to `rehearsal` with the header `x-ostinato-lane`.
- Within a lane the user decides (see `serving.split`).
- In the live lane an arm that is down is passed over and counted; while a rollout splits the lane,
  what was seen of each request's own arm is written down (`serving.observed`), its failure too. In
  the rehearsal lane a failure is the answer, because it is what the canary's analysis must see.
- A shadow gets copies of live requests, after they were answered (`serving.mirror`).
- `x-ostinato-version` in the answer names the arm.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from recommender.privacy import Pseudonyms
from serving import mirror
from serving.current_routes import RoutesFile
from serving.mirror import Copy, Mirror
from serving.observed import Writer
from serving.routes import LANES, LIVE, REHEARSAL, Arm, Routes
from serving.split import ranked

LANE_HEADER = "x-ostinato-lane"


VERSION_HEADER = "x-ostinato-version"


_AVOID_S = 1.0


_NOT_PASSED_ON = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("trailer", "transfer-encoding", "upgrade", "host", "content-length"),
        *("accept-encoding", "content-encoding"),
    }
)


logger = logging.getLogger("ostinato.router")


class Proxy:
    """Passes requests on.

    Args:
        routes: where to.
        client: for all arms; its connections are kept.
        seen: takes what was seen of live requests while a rollout splits them.
        copies: sends copies to a shadow.
        names: of users, in what is written down; None writes nothing down and copies nothing.
    """

    def __init__(
        self,
        routes: RoutesFile,
        client: httpx.AsyncClient,
        seen: Writer,
        copies: Mirror,
        names: Pseudonyms | None,
    ) -> None:
        self.routes = routes
        self.copies = copies
        self._seen, self._names = seen, names
        self.counts: dict[str, Counter[str]] = {lane: Counter() for lane in LANES}
        self._client = client
        self._avoid: dict[str, float] = {}

    async def handle(self, request: Request) -> Response:
        """Answer one request from the arm it belongs to."""
        lane = request.headers.get(LANE_HEADER, LIVE)
        if lane not in LANES:
            return _refuse(400, f"{LANE_HEADER}: {lane!r} is no lane; {' and '.join(LANES)} are")
        body = await request.body()
        key = _key(body, request.headers)
        return await (self._live if lane == LIVE else self._rehearsal)(request, body, key)

    async def _live(self, request: Request, body: bytes, key: str) -> Response:
        """Try the arms until one answers; the routes may change under way."""
        routes = self.routes.current()
        own = next(iter(ranked([a for a in routes.live if a.weight > 0], routes.salt, key)), None)
        tried: set[str] = set()
        failure: Response | None = None
        while arm := self._next(tried, key):
            if tried:
                self.counts[LIVE]["failovers"] += 1
            elif own and arm.url != own.url:
                self._note(routes, own, request, key, 0, 0.0, "did not answer a moment ago")
            tried.add(arm.url)
            started = time.perf_counter()
            try:
                response = await self._send(arm, LIVE, request, body)
            except httpx.TransportError as error:
                self._down(arm, error)
                failure = _unreachable(arm, error)
                status, wrong = 0, _told(error)
            else:
                status = response.status_code
                # What a client did wrong is no failure of the arm's; an unknown model is.
                wrong = f"HTTP {status}" if status >= 500 or status == 404 else ""
            latency = 1000 * (time.perf_counter() - started)
            if own and arm.url == own.url:
                self._note(routes, own, request, key, status, latency, wrong)
            if status not in (0, 503):
                self._copy(routes, arm, request, body, response, key, latency)
                return response
            failure = failure if status == 0 else response
        self.counts[LIVE]["unanswered"] += 1
        return failure or _refuse(503, "nothing is served here yet; run the pipeline first")

    def _note(
        self,
        routes: Routes,
        arm: Arm,
        request: Request,
        key: str,
        status: int,
        latency_ms: float,
        wrong: str,
    ) -> None:
        """Write down what a request's own arm made of it, while there are arms to compare."""
        if self._names is None or len(routes.live) < 2 or request.method != "POST":
            return
        self._seen.add(
            {
                "request": uuid.uuid4().hex,
                "user": self._names.of(key),
                "time": int(time.time() * 1000),
                "version": arm.version,
                "percent": round(routes.canary_percent, 6),
                "status": status,
                "latency_ms": round(latency_ms, 3),
                "error": wrong,
            }
        )

    def _copy(
        self,
        routes: Routes,
        arm: Arm,
        request: Request,
        body: bytes,
        response: Response,
        key: str,
        latency_ms: float,
    ) -> None:
        """Let the shadow have a copy of a request that was answered well."""
        shadow = routes.shadow
        if (
            shadow is None
            or self._names is None
            or request.method != "POST"
            or response.status_code != 200
            or arm.version == shadow.version
            or not self.copies.wants(shadow, key)
        ):
            return
        self.copies.offer(
            Copy(
                shadow=shadow,
                path=_path(request),
                headers=_passed(request.headers) | {LANE_HEADER: mirror.LANE},
                body=body,
                answer=bytes(response.body),
                user=self._names.of(key),
                request=uuid.uuid4().hex,
                time=int(time.time() * 1000),
                stable_ms=latency_ms,
            )
        )

    def _next(self, tried: set[str], key: str) -> Arm | None:
        routes = self.routes.current()
        # Arms without a weight come last: better an old answer than none.
        left = [arm for arm in routes.live if arm.url not in tried]
        order = ranked(left, routes.salt, key)
        now = time.monotonic()
        # An arm that has just failed is the last resort, not the first.
        return min(order, key=lambda arm: self._avoid.get(arm.url, 0) > now, default=None)

    def _down(self, arm: Arm, error: httpx.TransportError) -> None:
        self._avoid[arm.url] = time.monotonic() + _AVOID_S
        logger.warning("arm %s at %s: %s", arm.version, arm.url, _told(error))

    async def _rehearsal(self, request: Request, body: bytes, key: str) -> Response:
        routes = self.routes.current()
        order = ranked([arm for arm in routes.rehearsal if arm.weight > 0], routes.salt, key)
        if not order:
            return _refuse(503, "the rehearsal lane is empty; a rollout fills it")
        try:
            return await self._send(order[0], REHEARSAL, request, body)
        except httpx.TransportError as error:
            return _unreachable(order[0], error)

    async def _send(self, arm: Arm, lane: str, request: Request, body: bytes) -> Response:
        count = self.counts[lane]
        count[f"{arm.version} requests"] += 1
        headers = _passed(request.headers) | {"accept-encoding": "identity"}
        asked = self._client.build_request(
            request.method, arm.url + _path(request), content=body, headers=headers
        )
        try:
            try:
                answer = await self._client.send(asked)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # A kept connection may be closed at the moment it is taken up, which is not the
                # arm's fault. Asking twice is safe: predictions change nothing.
                answer = await self._client.send(asked)
        except httpx.TransportError:
            count[f"{arm.version} unreachable"] += 1
            raise
        if answer.status_code >= 500:
            count[f"{arm.version} errors"] += 1
        told = _passed(answer.headers) | {VERSION_HEADER: arm.version}
        return Response(answer.content, answer.status_code, told)


def _path(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _key(body: bytes, headers: Mapping[str, str]) -> str:
    """Return what the split goes by: the (first) user asked about, else the request."""
    if user := _user(body):
        return user
    return headers.get("x-request-id") or uuid.uuid4().hex


def _user(body: bytes) -> str:
    """Return the user of a V1 or V2 (open inference) request, "" where none is named."""
    try:
        asked: Any = orjson.loads(body) if body else {}
        if "instances" in asked:
            return str(asked["instances"][0].get("user_id") or "")
        tensors = {tensor["name"]: tensor for tensor in asked.get("inputs", ())}
        return str(tensors["user_id"]["data"][0])
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return ""  # the arm will say what is wrong with it


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in _NOT_PASSED_ON}


def _refuse(status: int, error: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": error}, status, headers)


def _unreachable(arm: Arm, error: Exception) -> Response:
    told = f"model server {arm.version} does not answer: {_told(error)}"
    return _refuse(502, told, {VERSION_HEADER: arm.version})


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
