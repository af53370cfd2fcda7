"""The cheapest way to ask an HTTP server: what it costs should not look like the server's time."""

from __future__ import annotations

import asyncio
import json
import time


class Connection:
    """One kept-alive connection."""

    def __init__(self, host: str, port: int, path: str, verb: str = "POST") -> None:
        self._where = host, port
        self._head = f"{verb} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection(*self._where)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()

    async def ask(self, body: bytes) -> tuple[int, bytes, float]:
        """Return status, body and seconds."""
        started = time.perf_counter()
        self._writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        return int(head.split()[1]), answer, time.perf_counter() - started


async def ask_all(
    url: str, path: str, bodies: list[dict], at_once: int, verb: str = "POST"
) -> tuple[list[float], float]:
    """Ask everything, so many at a time; return the seconds of each and of all together."""
    host, port = url.removeprefix("http://").split(":")
    waiting = [json.dumps(body).encode() for body in reversed(bodies)]
    took: list[float] = []

    async def one() -> None:
        async with Connection(host, int(port), path, verb) as connection:
            while waiting:
                status, answer, seconds = await connection.ask(waiting.pop())
                assert status == 200, answer
                took.append(seconds)

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(at_once)))
    return took, time.perf_counter() - started
