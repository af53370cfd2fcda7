"""The part of GitHub's REST API for pull requests that a bot needs, over real HTTP.

Payloads are validated against the fields of GitHub's description of its API; the branches are those
of a real repository.
"""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

REQUIRED = {"title": str, "head": str, "base": str}
OPTIONAL = {"body": str, "draft": bool, "maintainer_can_modify": bool, "head_repo": str}
QUERY = {"head", "base", "state", "sort", "direction", "per_page", "page"}
TOKEN = "forge-token"


@dataclass
class GitHubServer:
    """Pull requests of `owner/name`; a context manager.

    Attributes:
        repository: bare, with the branches.
        pulls: the pull requests, the oldest first.
        faults: statuses (and headers) that the next requests are answered with instead.
        lost: how many of the next answers to a POST are lost after the work was done.
    """

    repository: Path
    pulls: list[dict] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    faults: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    lost: int = 0
    asked: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method, path, query, body):
        """Return status and value."""
        root = "/repos/owner/name"
        if not path.startswith(root):
            return 404, {"message": "Not Found"}
        match method, path.removeprefix(root).strip("/").split("/"):
            case "GET", ["pulls"]:
                if wrong := query.keys() - QUERY:
                    return 422, {"message": f"unknown {wrong}"}
                found = [p for p in self.pulls if f"owner:{p['head']['ref']}" == query["head"]]
                return 200, [p for p in reversed(found) if p["base"]["ref"] == query["base"]]
            case "POST", ["pulls"]:
                return self.create(body)
            case "PATCH", ["pulls", number]:
                assert body == {"state": "closed"}
                self.pulls[int(number) - 1]["state"] = "closed"
                return 200, self.pulls[int(number) - 1]
            case "POST", ["issues", _, "comments"]:
                assert body.keys() == {"body"}
                self.comments.append(body["body"])
                return 201, {"id": 1}
        return 404, {"message": "Not Found"}

    def create(self, body):
        fields = REQUIRED | OPTIONAL
        wrong = [k for k, v in body.items() if not isinstance(v, fields.get(k, ()))]
        wrong += [key for key in REQUIRED if not body.get(key)]
        if wrong or len(body.get("body", "")) > 65_536:
            return 422, {"message": "Validation Failed", "errors": wrong}
        for branch in (body["head"], body["base"]):
            there = ["git", "rev-parse", "--verify", f"refs/heads/{branch}"]
            if subprocess.run(there, cwd=self.repository, capture_output=True).returncode:
                return 422, {"message": "Validation Failed", "errors": [{"field": branch}]}
        if any(p["state"] == "open" and p["head"]["ref"] == body["head"] for p in self.pulls):
            return 422, {"message": "A pull request already exists"}
        number = len(self.pulls) + 1
        made = {
            "number": number,
            "html_url": f"https://github.example.com/owner/name/pull/{number}",
            "state": "open",
            "merged_at": None,
            "title": body["title"],
            "body": body.get("body"),
            "head": {"ref": body["head"]},
            "base": {"ref": body["base"]},
        }
        self.pulls.append(made)
        return 201, made


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        def do(self):
            server.asked += 1
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            headers = {}
            if server.faults:
                status, headers = server.faults.pop(0)
                value = {"message": "something is wrong"}
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, value = 401, {"message": "Bad credentials"}
            elif self.headers.get("Accept") != "application/vnd.github+json":
                status, value = 415, {"message": "Unsupported"}
            else:
                url = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(url.query).items()}
                status, value = server.answer(self.command, url.path, query, body)
                if server.lost and self.command == "POST":
                    server.lost -= 1
                    self.connection.close()
                    return
            content = json.dumps(value).encode()
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do

        def log_message(self, *_):
            """Say nothing."""

        def handle(self):
            try:
                super().handle()
            except (OSError, ValueError):
                return

    return Handler
