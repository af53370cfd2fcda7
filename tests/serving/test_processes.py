"""Processes are found again, stopped, and never mistaken for somebody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from recommender.errors import ServingError
from recommender.files import write_json
from recommender.workspace import Workspace
from serving import processes
from serving.ports import free_port
from serving.processes import Command, Server


def router(name: str, folder: Path) -> Command:
    arguments = ["--routes", str(folder / "routes.json")]
    return Command(name, "router", "serving.router", arguments, "/healthz")


def module(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return name


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of small programs that `python -m` finds."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_a_server_outlives_whoever_started_it_and_is_found_and_stopped_by_another(
    workspace: Workspace,
) -> None:
    script = f"""
    from pathlib import Path
    from recommender.workspace import Workspace
    from serving import processes
    from serving.processes import Command
    root = Path({str(workspace.root)!r})
    arguments = ["--routes", str(root / "routes.json")]
    command = Command("far", "router", "serving.router", arguments, "/healthz")
    print(processes.start(Workspace(root), command, host="127.0.0.1").pid)
    """
    # Captured output ends only if the server does not hold the pipe: KFP waits for that.
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (found,) = [server for server in processes.running(workspace) if server.name == "far"]
    assert found.pid == int(done.stdout)
    assert psutil.Process(found.pid).pid == os.getsid(found.pid)  # a session of its own
    processes.stop(workspace, found)
    assert not psutil.pid_exists(found.pid)
    assert not [server for server in processes.running(workspace) if server.name == "far"]


def test_a_recycled_process_id_is_never_stopped(workspace: Workspace) -> None:
    innocent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stale = Server("stale", "model", innocent.pid, "t" * 32, "http://127.0.0.1:1", "none.log")
        write_json(workspace.serving / "processes" / "stale.json", asdict(stale))
        assert not stale.alive
        assert processes.running(workspace) == ()
        processes.stop(workspace, stale)
        processes.stop_all(workspace)
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()
    assert not (workspace.serving / "processes" / "stale.json").exists()


def test_a_server_that_was_killed_is_not_listed_and_can_be_started_again(
    workspace: Workspace,
) -> None:
    first = processes.start(workspace, router("again", workspace.root), host="127.0.0.1")
    with pytest.raises(ServingError, match="again runs already"):
        processes.start(workspace, router("again", workspace.root), host="127.0.0.1")
    os.kill(first.pid, signal.SIGKILL)
    while first.alive:
        time.sleep(0.02)
    assert processes.running(workspace) == ()
    second = processes.start(workspace, router("again", workspace.root), host="127.0.0.1")
    # The record is the second one's by now: stopping the first must not take it away.
    processes.stop(workspace, first)
    assert processes.running(workspace) == (second,)
    assert processes.stop_all(workspace) == (second,)
    assert not second.alive


def test_a_damaged_record_is_forgotten(workspace: Workspace) -> None:
    folder = workspace.serving / "processes"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "half.json").write_text('{"name": "half"')
    (folder / "other.json").write_text('{"pid": 1}')
    assert processes.running(workspace) == ()
    assert not list(folder.glob("*.json"))


def test_a_server_that_ends_at_once_is_told_with_its_last_lines(
    workspace: Workspace, stand_in: Path
) -> None:
    text = "print('line one'); raise SystemExit('the model is broken')"
    command = Command("ends", "model", module(stand_in, "ends_at_once", text), [], "/")
    started = time.monotonic()
    with pytest.raises(ServingError, match=r"exit code 1(.|\n)*line one\nthe model is broken"):
        processes.start(workspace, command, host="127.0.0.1", timeout_s=60)
    assert time.monotonic() - started < 30
    assert processes.running(workspace) == ()


def test_a_server_that_never_becomes_ready_is_stopped_even_if_it_does_not_want_to(
    workspace: Workspace, stand_in: Path
) -> None:
    text = """
    import os, signal, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("process", os.getpid(), flush=True)
    time.sleep(60)
    """
    command = Command("hangs", "model", module(stand_in, "hangs", text), [], "/")
    with pytest.raises(ServingError, match=r"not ready after 1 s(.|\n)*process \d+") as raised:
        processes.start(workspace, command, host="127.0.0.1", timeout_s=1)
    pid = int(str(raised.value).split("process ")[1].split()[0])
    assert not psutil.pid_exists(pid)
    assert processes.running(workspace) == ()


def test_a_port_that_somebody_took_meanwhile_is_replaced_by_another(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, stand_in: Path
) -> None:
    blocker = processes.start(workspace, router("blocker", stand_in), host="127.0.0.1")
    taken, free = int(blocker.url.rsplit(":", 1)[1]), free_port()
    ports = iter([taken, free])
    monkeypatch.setattr(processes, "free_port", lambda host: next(ports))
    server = processes.start(workspace, router("second", stand_in), host="127.0.0.1")
    assert server.url.endswith(f":{free}")
    with pytest.raises(ServingError, match="address already in use"):
        processes.start(workspace, router("third", stand_in), host="127.0.0.1", port=taken)
    processes.stop_all(workspace)


def test_a_server_gets_those_secrets_of_the_pipeline_only_that_it_needs(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, stand_in: Path
) -> None:
    monkeypatch.setenv("OSTINATO_SIGNING_KEY", "/secret/key.pem")
    monkeypatch.setenv("OSTINATO_PSEUDONYM_KEY", "a-secret-of-many-bytes")
    server = processes.start(workspace, router("plain", stand_in), host="127.0.0.1")
    environment = psutil.Process(server.pid).environ()
    assert not {"OSTINATO_SIGNING_KEY", "OSTINATO_PSEUDONYM_KEY"} & set(environment)
    processes.stop(workspace, server)
    asking = replace(router("asking", stand_in), secrets=["OSTINATO_PSEUDONYM_KEY"])
    server = processes.start(workspace, asking, host="127.0.0.1")
    environment = psutil.Process(server.pid).environ()
    assert environment["OSTINATO_PSEUDONYM_KEY"] == "a-secret-of-many-bytes"
    assert "OSTINATO_SIGNING_KEY" not in environment
    processes.stop(workspace, server)


def test_an_interrupted_start_leaves_no_process(workspace: Workspace, stand_in: Path) -> None:
    text = "import time; time.sleep(60)"
    name = module(stand_in, "waits", text)
    script = f"""
    import signal
    from pathlib import Path
    from recommender.workspace import Workspace
    from serving import processes
    from serving.processes import Command
    command = Command("waits", "model", {name!r}, [], "/")
    processes.start(Workspace(Path({str(workspace.root)!r})), command, host="127.0.0.1")
    """
    starter = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.PIPE
    )
    record = workspace.serving / "processes" / "waits.json"
    while not record.exists():
        time.sleep(0.05)
    pid = json.loads(record.read_text())["pid"]
    time.sleep(0.3)
    starter.send_signal(signal.SIGINT)
    starter.communicate(timeout=40)
    assert not psutil.pid_exists(pid)
    assert not record.exists()


def test_the_token_decides_not_the_process_id(workspace: Workspace, stand_in: Path) -> None:
    server = processes.start(workspace, router("token", stand_in), host="127.0.0.1")
    assert not replace(server, token="another").alive
    assert server.alive
    processes.stop(workspace, server)
