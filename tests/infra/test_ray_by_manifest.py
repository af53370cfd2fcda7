"""Ray started by the options that the manifest gives its nodes builds what one process builds.

As a step does it on a cluster: from another process, as Ray's client, with the token. KubeRay makes
`ray start` of the manifest's options in the same way; its pods, and the network, are not here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rendered import KUSTOMIZE, ROOT, Object

TABLES = ROOT / "tests"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def started(tmp_path) -> Iterator[dict[str, str]]:
    """Ray by the manifest's options, with ports that are free here; yields a step's variables."""
    path = KUSTOMIZE / "components" / "features-on-ray" / "cluster.yaml"
    spec = yaml.safe_load(path.read_text())["spec"]
    head, (builders,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    program = str(Path(sys.executable).with_name("ray"))
    ports = {name: str(free_port()) for name in ("port", "ray-client-server-port")}
    here = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 32 * "ab", "RAY_USAGE_STATS_ENABLED": "0"}
    running = []

    def start(group: Object, *words: str) -> None:
        options = {
            **group["rayStartParams"],
            **{name: port for name, port in ports.items() if name in group["rayStartParams"]},
            "node-manager-port": str(free_port()),
            "num-cpus": str(min(1, int(group["rayStartParams"]["num-cpus"]))),
            "object-store-memory": "100000000",
            "node-ip-address": "127.0.0.1",
        }
        told = [f"--{name}={value}" for name, value in options.items()]
        running.append(
            subprocess.Popen(
                [program, "start", "--block", *words, *told],
                env={**os.environ, **here, "RAY_TMPDIR": str(tmp_path)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    try:
        start(head, "--head")
        answers(int(ports["ray-client-server-port"]))
        for _ in range(builders["replicas"]):
            start(builders, f"--address=127.0.0.1:{ports['port']}")
        yield {
            "RAY_ADDRESS": f"ray://127.0.0.1:{ports['ray-client-server-port']}",
            "RAY_AUTH_TOKEN": here["RAY_AUTH_TOKEN"],
        }
    finally:
        for each in running:
            os.killpg(each.pid, signal.SIGTERM)
        for each in running:
            try:
                each.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(each.pid, signal.SIGKILL)
                each.wait()


def answers(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError("Ray does not begin")


_BUILD = """
import json, sys
from datetime import UTC, datetime
import pyarrow as pa
from recommender.config.actions import ActionsConfig
from recommender.config.build import BuildConfig
from recommender.errors import UserError
from recommender.features.sequences import Catalogue
from recommender.features.streaming_build import Wanted, latest_sequences
from tables_by_hand import ACTIONS, event_table
actions = ActionsConfig.model_validate(ACTIONS)
wanted = Wanted(Catalogue(("a", "b")), actions, 3, 90, datetime(2026, 1, 2, tzinfo=UTC))
events = event_table([(f"u{n % 9}", "ab"[n % 2], "click", n) for n in range(100)])
wrong = event_table([("u", "?", "click", 1)])
def made(engine, events):
    try:
        build = BuildConfig(engine=engine, events_per_bucket=20)
        return repr(pa.Table.from_batches(latest_sequences(events, wanted, build)).to_pydict())
    except UserError as error:
        return str(error)
print(json.dumps([[made(engine, each) for engine in ("ray", "local")] for each in (events, wrong)]))
"""


def build(variables: dict[str, str]) -> list[list[str]]:
    told = subprocess.run(
        [sys.executable, "-c", _BUILD],
        env={
            **os.environ,
            **variables,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(TABLES)]),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout.splitlines()[-1])


def test_a_step_builds_by_the_manifests_cluster_what_it_builds_alone(started):
    rows, refused = build(started)
    assert rows[0] == rows[1]
    assert "u8" in rows[0]
    # What is wrong with the data is told as by the single process.
    assert refused[0] == refused[1]
    assert "lacks" in refused[0]
    strangers, _ = build({**started, "RAY_AUTH_TOKEN": 32 * "cd"})
    assert "can't be reached" in strangers[0]
    assert "RAY_AUTH_TOKEN" in strangers[0]
