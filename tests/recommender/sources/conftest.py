"""Configurations and files for source tests, and an HTTPS server with a private authority."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from recommender.config import Config, parse


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., Config]:
    """Make a configuration whose workspace is the test's own."""

    def make(source: dict[str, Any], **more: Any) -> Config:
        tree = {
            "name": "test",
            "workspace": str(tmp_path / "workspace"),
            "source": source,
            "actions": {"types": ["rate", "like", "view", "cart", "purchase", "return"]},
        }
        return parse(tree | more, "the test's configuration")

    return make


@pytest.fixture
def shop(tmp_path: Path, configured: Callable[..., Config]) -> Callable[..., Config]:
    """Write a small log and catalogue as CSV and map them; keyword arguments change the mapping."""

    def make(
        log: str | bytes = "user,item,time\nu1,i1,2024-01-01\nu2,i2,2024-01-02T10:00:00Z\n",
        catalogue: str | bytes = "item,name\ni1,One\ni2,Two\n",
        *,
        events: dict[str, Any] | None = None,
        items: dict[str, Any] | None = None,
        users: dict[str, Any] | None = None,
    ) -> Config:
        folder = tmp_path / "raw"
        folder.mkdir(exist_ok=True)
        for name, content in (("log.csv", log), ("items.csv", catalogue)):
            data = content.encode() if isinstance(content, str) else content
            (folder / name).write_bytes(data)
        columns = {"user": "user", "item": "item", "time": "time"}
        source = {
            "kind": "mapped",
            "events": {
                "location": str(folder / "log.csv"),
                "columns": columns,
                "types": {"rules": [{"event": "view"}]},
            }
            | (events or {}),
            "items": {
                "location": str(folder / "items.csv"),
                "columns": {"item": "item", "title": "name"},
            }
            | (items or {}),
        }
        return configured(source | ({"users": users} if users else {}))

    return make


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder; `half-…` breaks off half-way, `plain-…` is sent on to plain HTTP."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        name = self.path.rpartition("/")[2].partition("?")[0]
        if name.startswith("half-"):
            data = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif name.startswith("plain-"):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.plain_port}/a.csv")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *args: object) -> None:
        pass


class Https:
    """A folder served over HTTPS on loopback."""

    def __init__(self, folder: Path, url: str, asked: list[str]) -> None:
        self.folder, self.url, self.asked = folder, url, asked


@pytest.fixture
def https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Https]:
    import trustme

    folder = tmp_path / "served"
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    plain = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    server.plain_port = plain.server_port
    server.socket = context.wrap_socket(server.socket, server_side=True)
    for each in (server, plain):
        threading.Thread(target=each.serve_forever, args=(0.02,), daemon=True).start()
    yield Https(folder, f"https://localhost:{server.server_port}", asked)
    for each in (server, plain):
        each.shutdown()
        each.server_close()
