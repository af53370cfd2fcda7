"""A real Redis server for tests: on a free port, without persistence, killed afterwards."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil


def program() -> str | None:
    return shutil.which("redis-server")


class RedisServer:
    """One server; `stop` and `start` keep the port and lose the data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def connection(self) -> str:
        """As Feast writes it."""
        return f"127.0.0.1:{self.port},db=0"

    def start(self) -> None:
        found = program()
        assert found, "no redis-server program"
        words = [found, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        words += ["--appendonly", "no", "--dir", str(self._folder), *self._options]
        log = (self._folder / "redis.log").open("ab")
        self.process = subprocess.Popen(words, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self._asked(b"PING\r\n").startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        raise AssertionError((self._folder / "redis.log").read_text())

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def suspend(self) -> None:
        """Let it hang: connections open, and nothing answers."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def client(self):
        import redis

        return redis.Redis(port=self.port)

    def cpu_s(self) -> float:
        """CPU time that the server has used."""
        assert self.process
        spent = psutil.Process(self.process.pid).cpu_times()
        return float(spent.user + spent.system)

    def _asked(self, command: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), 1) as asking:
            asking.sendall(command)
            return asking.recv(64)


@contextlib.contextmanager
def running(*options: str) -> Iterator[RedisServer]:
    with TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()
