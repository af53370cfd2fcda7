"""A real PostgreSQL server for tests, in a folder of its own, on a free port.

`initdb` refuses to run as root, so as root it runs as the `postgres` user of Debian's package.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def programs() -> Path | None:
    """The folder of PostgreSQL's programs; Debian keeps it off the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


def account() -> str | None:
    """Whom the server runs as; None: ourselves. Empty where root has nobody to become."""
    if os.getuid() != 0:
        return None
    return "postgres" if "postgres" in {each.pw_name for each in pwd.getpwall()} else ""


@dataclass(frozen=True)
class Postgres:
    """A running server and its superuser."""

    port: int
    password: str
    user: str = "owner"

    def url(self, database: str = "postgres", user: str = "", password: str = "") -> str:
        return (
            f"postgresql+psycopg://{user or self.user}:{password or self.password}"
            f"@127.0.0.1:{self.port}/{database}"
        )

    def run(self, *statements: str, database: str = "postgres") -> None:
        import psycopg

        plain = self.url(database).replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as session:
            for statement in statements:
                session.execute(statement)

    def database(self, like: str = "template1") -> str:
        """Make a database, empty or like one that nobody is connected to; return its name."""
        name = f"registry_{secrets.token_hex(4)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {like}")
        return name


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Start a server; stop it afterwards. The caller has checked `programs` and `account`."""
    home = programs()
    assert home is not None
    runs_as = {"user": account()} if account() else {}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Postgres(free.getsockname()[1], secrets.token_hex(8))
    # Short: the path of a Unix socket may have a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        secret = folder / "password"
        secret.write_text(server.password)
        if runs_as:
            for path in (folder, secret):
                shutil.chown(path, runs_as["user"], runs_as["user"])
        data = folder / "data"
        options = f"-U {server.user} -A scram-sha-256 -E UTF8 --locale C --no-sync".split()
        subprocess.run(
            [home / "initdb", "-D", data, "--pwfile", secret, *options],
            check=True,
            capture_output=True,
            cwd=folder,
            **runs_as,
        )
        settings = f"-p {server.port} -h 127.0.0.1 -k {folder} -c fsync=off -c shared_buffers=16MB"
        control = [home / "pg_ctl", "-D", data, "-l", folder / "log", "-w"]
        subprocess.run(
            [*control, "-o", settings, "start"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            timeout=60,
            **runs_as,
        )
        try:
            yield server
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"],
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                **runs_as,
            )
    finally:
        for _ in range(20):
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
            time.sleep(0.1)
