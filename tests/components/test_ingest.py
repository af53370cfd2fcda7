"""The ingest step: what it writes, and that a failed one leaves things as they were."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from recommender.config import Config, parse
from recommender.tables import Tables

ROOT = Path(__file__).parents[2]

# What a KFP runner does with a step, in a process of its own.
RUN = """
import resource, signal, sys
if sys.argv[4] != "0":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
from components.ingest.step import run
print(run(sys.argv[1], sys.argv[2], sys.argv[3]))
"""


def _config(tmp_path: Path, rows: int = 3, **source: Any) -> Config:
    raw = tmp_path / "raw"
    raw.mkdir(exist_ok=True)
    lines = (
        f"{i % 97},{i * 7919 % 9973},{i % 9 / 2 + 0.5},{946684800 + i * 61}" for i in range(rows)
    )
    (raw / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "\n".join(lines) + "\n")
    titles = "".join(f'{i},"Film {i} (2000)",Drama\n' for i in range(min(rows, 9973)))
    (raw / "movies.csv").write_text("movieId,title,genres\n" + titles)
    return parse(
        {
            "name": "test",
            "workspace": str(tmp_path / "workspace"),
            "source": {"kind": "movielens", "location": str(raw)} | source,
            "actions": {"types": ["rate", "like"]},
        },
        "the test's configuration",
    )


def _start(config: Config, out: Path, run_id: str, limit: int = 0, **env: str) -> subprocess.Popen:
    arguments = [config.to_json(), run_id, str(out), str(limit)]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments],
        cwd=ROOT,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _record(config: Config, run_id: str) -> dict[str, Any]:
    return json.loads((config.paths.run(run_id) / "steps/ingest.json").read_text())


def _files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_the_component_writes_tables_and_names_their_version(tmp_path: Path) -> None:
    from kfp import dsl

    from components.ingest.component import ingest

    config = _config(tmp_path)
    data = dsl.Dataset(name="data", uri=str(tmp_path / "artifact"), metadata={})
    version = ingest.python_func(config=config.to_json(), run_id="r1", data=data)
    assert data.metadata == {"data_version": version}
    assert Tables.read(tmp_path / "artifact").events.num_rows == 3
    manifest = json.loads((tmp_path / "artifact/manifest.json").read_text())
    assert manifest["data_version"] == version
    summary = _record(config, "r1")["summary"]
    assert summary["data_version"] == version
    assert summary["rows"] == {"events": 3, "items": 3, "users": 3}
    assert summary["unchanged"] is False
    again = ingest.python_func(config=config.to_json(), run_id="r2", data=data)
    assert again == version
    assert _record(config, "r2")["summary"]["unchanged"] is True


def test_the_component_runs_under_the_local_runner(tmp_path: Path) -> None:
    from kfp import local

    from components.ingest.component import ingest

    root = tmp_path / "kfp"
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
    task = ingest(config=_config(tmp_path).to_json(), run_id="r1")
    (artifact,) = root.rglob("events.parquet")
    manifest = json.loads(artifact.with_name("manifest.json").read_text())
    assert task.outputs["Output"] == manifest["data_version"]


def test_a_wrong_source_ends_with_one_message_and_no_trace(tmp_path: Path) -> None:
    config = _config(tmp_path)
    Path(config.source.location, "movies.csv").write_bytes(
        b"movieId,title,genres\n1,Mis\xe9rables,Drama\n"
    )
    process = _start(config, tmp_path / "out", "r1")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith("ingest: ")
    assert "movies.csv: line 2 is not utf-8 text (byte 0xe9" in said
    assert "encoding: latin-1" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
    assert not config.paths.data.exists()
    assert _record(config, "r1")["status"] == "failed"


@pytest.mark.slow
def test_a_full_disk_leaves_earlier_versions_and_nothing_half_written(tmp_path: Path) -> None:
    """The kernel's limit on file size stands in for the end of the disk."""
    config = _config(tmp_path)
    process = _start(config, tmp_path / "out", "r1")
    first, _ = process.communicate(timeout=60)
    before = _files(config.paths.data)
    process = _start(_config(tmp_path, rows=30_000), tmp_path / "out2", "r2", limit=50_000)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot write" in said
    assert "events.parquet" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out2").exists()
    assert _files(config.paths.data) == before
    assert f"versions/{first.strip()}/events.parquet" in before
    # With room again, the same command gets through.
    process = _start(_config(tmp_path, rows=30_000), tmp_path / "out2", "r3")
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.fixture
def stalling(tmp_path: Path) -> Iterator[tuple[str, threading.Event]]:
    """An HTTPS server that sends the first half of a file and then nothing more."""
    import trustme

    halfway, done = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "200000")
            self.end_headers()
            self.wfile.write(b"x" * 100_000)
            self.wfile.flush()
            halfway.set()
            done.wait(30)

        def log_message(self, *args: object) -> None:
            pass

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"https://localhost:{server.server_port}/ml.zip", halfway
    done.set()
    server.shutdown()
    server.server_close()


def test_control_c_in_a_download_leaves_nothing_behind(
    tmp_path: Path, stalling: tuple[str, threading.Event]
) -> None:
    url, halfway = stalling
    config = _config(tmp_path, location=url)
    process = _start(
        config, tmp_path / "out", "r1", REQUESTS_CA_BUNDLE=str(tmp_path / "ca.pem"), NO_PROXY="*"
    )
    assert halfway.wait(60)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "ingest: interrupted" in said
    assert "Traceback" not in said
    assert _record(config, "r1")["status"] == "interrupted"
    assert not (tmp_path / "out").exists()
    assert not config.paths.data.exists()
    assert _files(config.paths.cache) == {}


def test_events_that_came_by_stream_are_part_of_the_next_data_version(tmp_path: Path) -> None:
    from components.ingest.step import run
    from feature_repo.stream.event import StreamEvent
    from feature_repo.stream.opening import landing_of

    config = _config(tmp_path)
    before = run(config.to_json(), "run-1", str(tmp_path / "one"))
    known = Tables.read(tmp_path / "one").events.to_pylist()[0]
    landing = landing_of(config)
    same = StreamEvent(
        known["event_id"], known["user_id"], known["item_id"], known["event"], 946_684_800_000
    )
    new = StreamEvent("s-1", "a stranger", known["item_id"], "rate", 1_100_000_000_000, value=4.0)
    landing.land([same, new, StreamEvent("s-2", "u", "not listed", "rate", 5)], 1_200_000_000_000)

    after = run(config.to_json(), "run-2", str(tmp_path / "two"))
    tables = Tables.read(tmp_path / "two")
    assert after != before
    assert tables.events.num_rows == Tables.read(tmp_path / "one").events.num_rows + 1
    assert "a stranger" in tables.users["user_id"].to_pylist()
    report = json.loads((tmp_path / "two" / "manifest.json").read_text())["report"]
    assert report["notes"][-1] == (
        "1 streamed events that the source lacks were added, 1 wait for their item"
    )
    assert run(config.to_json(), "run-3", str(tmp_path / "three")) == after
