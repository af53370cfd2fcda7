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
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
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


class Node:
    """A node of Ray that is started again when it ends, as Kubernetes would do.

    Ray waits half a minute for its own parts to come up, which is short on a machine at work.

    Args:
        words: for `ray start`.
        said: file that gets what it says.
        variables: of its environment.
    """

    def __init__(self, words: list[str], said: Path, variables: dict[str, str]) -> None:
        self._words, self._said, self._variables = words, said, variables
        self._process: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Start it until it is up."""
        for _ in range(6):
            with self._said.open("wb") as said:
                self._process = subprocess.Popen(
                    [Path(sys.executable).with_name("ray"), "start", "--block", *self._words],
                    env={**os.environ, **self._variables},
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            # One that gave up may hang with what it leaves behind.
            for _ in range(180):
                if b"Ray runtime started" in self._said.read_bytes():
                    return
                if self._process.poll() is not None:
                    break
                time.sleep(1)
            self.down()
        raise AssertionError(self._said.read_text())

    def down(self) -> None:
        """End it with all that it has started."""
        if self._process is None:
            return
        for number, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def started(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Ray by the manifest's options, with ports that are free here; yields a step's variables."""
    path = KUSTOMIZE / "components" / "features-on-ray" / "cluster.yaml"
    spec = yaml.safe_load(path.read_text())["spec"]
    head, (builders,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    meeting, clients = free_port(), free_port()
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": 32 * "ab",
        "RAY_USAGE_STATS_ENABLED": "0",
    }

    def node(group: Object, *words: str, **other: int) -> Node:
        given = group["rayStartParams"]
        options = {
            **given,
            "num-cpus": min(1, int(given["num-cpus"])),
            "node-manager-port": str(free_port()),
            "object-store-memory": 100_000_000,
            "node-ip-address": "127.0.0.1",
            **other,
        }
        told = [f"--{name}={value}" for name, value in options.items()]
        # Sockets lie there, whose paths must be short.
        there = {**variables, "RAY_TMPDIR": folder}
        return Node([*words, *told], tmp_path / options["node-manager-port"], there)

    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        ports = {"port": meeting, "ray-client-server-port": clients}
        address = f"--address=127.0.0.1:{meeting}"
        nodes = [node(head, "--head", **ports)]
        nodes += [node(builders, address) for _ in range(builders["replicas"])]
        try:
            for each in nodes:
                each.up()
            for _ in range(300):
                if answers(clients):
                    break
                time.sleep(1)
            yield {
                "RAY_ADDRESS": f"ray://127.0.0.1:{clients}",
                "RAY_AUTH_TOKEN": variables["RAY_AUTH_TOKEN"],
            }
        finally:
            for each in reversed(nodes):
                each.down()


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
