"""Shadow traffic: copies of live requests go to a candidate, whose answers are only compared.

A person's answer is never late for it: a copy is put into a queue after the answer is there, and
if the queue is full it is left out and counted. Whatever the candidate does, only the comparison
hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import orjson

from serving.observed import Writer
from serving.rollout.shadow import Comparison, compare
from serving.routes import Shadow

LANE = "shadow"
"""What the candidate is told in `x-ostinato-lane`, so that its lists aren't logged as shown."""

_WORKERS = 4


@dataclass(frozen=True)
class Copy:
    """One live request and its answer.

    Attributes:
        shadow: where to.
        path: with the query.
        headers: to pass on.
        body: of the request.
        answer: body of the live answer.
        user: a pseudonym.
        request: names the request.
        time: UTC milliseconds.
        stable_ms: latency of the live answer.
    """

    shadow: Shadow
    path: str
    headers: Mapping[str, str]
    body: bytes
    answer: bytes
    user: str
    request: str
    time: int
    stable_ms: float


class Mirror:
    """Sends copies and writes down how the answers compare.

    Args:
        client: to send with; not the one that live requests use, so that neither waits for the
            other's connections.
        writer: of comparisons.

    Attributes:
        counts: copies sent, left out and failed.
    """

    def __init__(self, client: httpx.AsyncClient, writer: Writer) -> None:
        self._client, self._writer = client, writer
        self._queue: asyncio.Queue[Copy] = asyncio.Queue()
        self._under_way = 0
        self._workers: list[asyncio.Task[None]] = []
        self.counts: Counter[str] = Counter()

    def wants(self, shadow: Shadow | None, key: str) -> bool:
        """Tell whether a user's requests are copied; the same user's always are, or never."""
        if shadow is None:
            return False
        digest = hashlib.sha256(f"shadow\0{key}".encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32 < shadow.percent / 100

    def offer(self, copy: Copy) -> None:
        """Put a copy into the queue, or leave it out if that is full; never waits."""
        if self._queue.qsize() + self._under_way >= copy.shadow.queue:
            self.counts["left out"] += 1
            return
        if not self._workers:
            self._workers = [asyncio.create_task(self._work()) for _ in range(_WORKERS)]
        self._queue.put_nowait(copy)

    async def close(self) -> None:
        """Stop; copies that wait are forgotten."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            copy = await self._queue.get()
            self._under_way += 1
            try:
                self._writer.add(asdict(await self._compared(copy)))
            finally:
                self._under_way -= 1

    async def _compared(self, copy: Copy) -> Comparison:
        started = time.perf_counter()
        error, told = "", b""
        try:
            answer = await self._client.post(
                copy.shadow.url + copy.path, content=copy.body, headers=dict(copy.headers)
            )
            told = answer.content
            if answer.status_code != 200:
                error = f"HTTP {answer.status_code}: {_short(told)}"
        except httpx.HTTPError as failure:
            error = f"{type(failure).__name__}: {failure}".rstrip(": ")
        latency = 1000 * (time.perf_counter() - started)
        overlap = correlation = None
        if not error:
            overlap, correlation, error = _lists(copy.answer, told)
        self.counts["failed" if error else "compared"] += 1
        return Comparison(
            user=copy.user,
            request=copy.request,
            time=copy.time,
            stable_ms=round(copy.stable_ms, 3),
            candidate_ms=round(latency, 3),
            overlap=overlap,
            rank_correlation=correlation,
            error=error,
        )


def _lists(stable: bytes, candidate: bytes) -> tuple[float | None, float | None, str]:
    """Compare the lists of two V1 answers; other answers are only timed.

    Returns:
        mean overlap, mean rank correlation, and what is wrong with the candidate's answer.
    """
    theirs, ours = _predictions(stable), _predictions(candidate)
    if theirs is None:
        return None, None, ""
    if ours is None or len(ours) != len(theirs):
        return None, None, f"no valid answer: {_short(candidate)}"
    if any(isinstance(one, dict) and not one.get("items") for one in ours):
        return None, None, "no items"
    found = [compare(*pair) for pair in zip(theirs, ours, strict=True)]
    return _mean([overlap for overlap, _ in found]), _mean([rank for _, rank in found]), ""


def _predictions(body: bytes) -> list[Any] | None:
    with contextlib.suppress(ValueError, TypeError, KeyError):
        told: Any = orjson.loads(body)["predictions"]
        return told if isinstance(told, list) else None
    return None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _short(body: bytes) -> str:
    line = " ".join(body[:400].decode(errors="replace").split())
    return line if len(line) <= 160 else f"{line[:160]}…"
