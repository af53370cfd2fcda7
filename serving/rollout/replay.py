"""Replays held-out users against both arms: one request each, through the router."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import islice
from typing import Any

import httpx

from recommender.config import Config
from recommender.errors import ServingError
from serving.proxy import LANE_HEADER, VERSION_HEADER
from serving.rollout.heldout import HeldOutUser
from serving.rollout.records import Arm, Record
from serving.routes import REHEARSAL

# Users whose requests are sent, and whose records are written, together.
_PORTION = 50
# A person's word is heeded within this, however slow an arm is.
_STOP_S = 0.25
# Longer than the router waits for an arm: it then says which arm it was that didn't answer.
_ROUTER_S = 60.0


class Replay:
    """Held-out users who ask the rehearsal lane. A `serving.rollout.target.Traffic`.

    Args:
        config: of the data set.
        users: in the order in which they ask.
        url: of the router.
        versions: which arm a version stands for.
    """

    def __init__(
        self, config: Config, users: Sequence[HeldOutUser], url: str, versions: dict[str, Arm]
    ) -> None:
        self._config = config
        self._users = users
        self._url = f"{url}/v1/models/{config.serving.name}:predict"
        self._versions = versions

    @property
    def users(self) -> int:
        """How many there are."""
        return len(self._users)

    @property
    def fingerprint(self) -> str:
        """A hash of who asks when and is looking for what."""
        digest = hashlib.sha256()
        for user in self._users:
            told = (user.pseudonym, str(user.time), *sorted(user.relevant))
            digest.update("\0".join(told).encode() + b"\n")
        return digest.hexdigest()

    def observe(
        self, step: int, seen: Container[str], count: int, stop: Callable[[], bool]
    ) -> Iterator[list[Record]]:
        """Send the requests of the next users; see `Traffic.observe`."""
        fresh = (user for user in self._users if user.pseudonym not in seen)
        chosen = islice(fresh, count)
        # One event loop and one set of connections for all portions.
        with asyncio.Runner() as runner:
            limits = httpx.Limits(max_connections=self._config.rollout.concurrency)
            client = httpx.AsyncClient(timeout=_ROUTER_S, limits=limits, trust_env=False)
            try:
                while not stop() and (portion := tuple(islice(chosen, _PORTION))):
                    yield runner.run(self._ask_all(client, portion, step, stop))
            finally:
                runner.run(client.aclose())

    async def _ask_all(
        self,
        client: httpx.AsyncClient,
        users: Sequence[HeldOutUser],
        step: int,
        stop: Callable[[], bool],
    ) -> list[Record]:
        places = asyncio.Semaphore(self._config.rollout.concurrency)

        async def one(user: HeldOutUser) -> Record:
            async with places:
                return await self._ask(client, user, step)

        tasks = [asyncio.create_task(one(user)) for user in users]
        try:
            waiting: set[asyncio.Task[Record]] = {*tasks}
            while waiting and not stop():
                done, waiting = await asyncio.wait(
                    waiting, timeout=_STOP_S, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        # In the order of the users, not of their answers: a rollout can be made again.
        return [task.result() for task in tasks if not task.cancelled()]

    async def _ask(self, client: httpx.AsyncClient, user: HeldOutUser, step: int) -> Record:
        """Ask for one user; a failed request is a record, not an error."""
        body = {
            "instances": [{"user_id": user.user_id, "k": self._config.rollout.k, "time": user.time}]
        }
        started = time.perf_counter()
        try:
            answer = await client.post(self._url, json=body, headers={LANE_HEADER: REHEARSAL})
        except httpx.TransportError as error:
            # The router answers for arms that don't; so this is the router itself.
            raise ServingError(
                f"the router at {self._url} does not answer: {error or type(error).__name__}",
                "`ostinato status` tells what runs",
            ) from error
        latency = 1000 * (time.perf_counter() - started)
        version = answer.headers.get(VERSION_HEADER, "")
        if version not in self._versions:
            raise ServingError(
                f"the router sent a rehearsal request to {version or 'no arm'}: "
                f"{answer.status_code} {answer.text[:200]}",
                "another rollout may have changed the routes; run again",
            )
        told, wrong = _read(answer, version)
        if not wrong and latency > 1000 * self._config.rollout.request_timeout_s:
            wrong = f"took {latency / 1000:.1f} s"
        items = [item["item_id"] for item in told.get("items", ())] if not wrong else []
        return Record(
            user=user.pseudonym,
            step=step,
            arm=self._versions[version],
            version=version,
            status=answer.status_code,
            latency_ms=round(latency, 3),
            hit=not user.relevant.isdisjoint(items) if user.relevant else None,
            fallback=told.get("fallback"),
            error=wrong,
        )


def _read(answer: httpx.Response, version: str) -> tuple[dict[str, Any], str]:
    """Return the prediction in an answer, and what is wrong with it ("" if nothing is)."""
    if answer.status_code != 200:
        return {}, f"HTTP {answer.status_code}: {_short(answer.text)}"
    try:
        told: dict[str, Any] = answer.json()["predictions"][0]
        items = [item["item_id"] for item in told["items"]]
    except (ValueError, KeyError, IndexError, TypeError):
        return {}, f"no valid answer: {_short(answer.text)}"
    if told.get("model_version") != version:
        return told, f"answered as {told.get('model_version')} instead of {version}"
    if not items:
        return told, "no items"
    if len(set(items)) != len(items):
        return told, "an item twice"
    return told, ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else f"{line[:160]}…"
