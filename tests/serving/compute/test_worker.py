"""What a client is told when too many requests wait."""

from __future__ import annotations

import asyncio
import threading

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from kserve.errors import ServerNotReady, server_not_ready_handler

from serving.ask import Ask
from serving.compute.worker import BusyError, FullError, Worker
from serving.ranking import Found


def test_beyond_the_queue_requests_are_refused_and_the_others_answered() -> None:
    go, started = threading.Event(), threading.Event()

    def work(asks, found):
        started.set()
        assert go.wait(10)
        return [ask.k for ask in asks]

    worker = Worker(work, batch=32, queue=1)

    async def ask(k: int):
        return await worker.answer([Ask(user_id="ann", k=k)], [Found()])

    async def all_of_them():
        first = asyncio.create_task(ask(1))
        while not started.is_set():
            await asyncio.sleep(0.001)
        second = asyncio.create_task(ask(2))
        await asyncio.sleep(0.01)
        with pytest.raises(FullError, match="1 asks wait already"):
            worker.admit(1)
        with pytest.raises(FullError, match="1 asks wait already") as refused:
            await ask(3)
        go.set()
        assert [await first, await second] == [[1], [2]]
        return refused.value

    error = asyncio.run(all_of_them())
    # What the gRPC server reads to say RESOURCE_EXHAUSTED.
    assert error.reason == str(error)
    worker.admit(9)  # nobody waits any more
    worker.close()
    with pytest.raises(BusyError, match="going away"):
        asyncio.run(ask(4))


def test_kserve_says_503() -> None:
    app = FastAPI()
    app.add_exception_handler(ServerNotReady, server_not_ready_handler)

    @app.get("/")
    async def busy() -> None:
        raise FullError("too many asks wait already")

    answer = TestClient(app).get("/")
    assert answer.status_code == 503
    assert answer.json() == {"error": "too many asks wait already"}
