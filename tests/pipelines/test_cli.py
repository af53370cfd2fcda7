"""The command line as a person meets it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def ostinato(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    ["run", "compile", "recommend", "features", "forget", "serve", "stop", "status", "doctor"],
)
def test_every_command_explains_itself(command):
    told = ostinato(command, "--help")
    assert told.returncode == 0
    assert "Usage" in told.stdout


def test_help_loads_none_of_the_heavy_libraries():
    code = (
        "import sys, pipelines.cli\n"
        "heavy = {'torch', 'kfp', 'feast', 'kserve', 'great_expectations', 'pandas', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "-c", "no-such.yaml"], "no-such.yaml does not exist"),
        (["run", "--set", "training.epoch=3"], "training.epoch: unknown key"),
        (["run", "--set", "model.heads=5"], "heads (5) must divide width (64)"),
        (["run", "--set", "seed=x"], "seed: Input should be a valid integer"),
    ],
)
def test_a_wrong_key_or_value_is_one_message_that_names_it(words, message):
    told = ostinato(*words)
    assert told.returncode == 1
    assert message in told.stderr
    assert "Traceback" not in told.stderr


def test_doctor_finds_this_machine_fit_and_changes_nothing(tmp_path):
    config = tmp_path / "config.yaml"
    # Any free port: the default one may be taken by an endpoint of this very project.
    config.write_text((ROOT / "configs/synthetic.yaml").read_text() + "\nserving: {port: 0}\n")
    told = ostinato("doctor", "-c", str(config), "--workspace", str(tmp_path / "new"))
    assert told.returncode == 0, told.stdout
    assert "kfp 2.17.0" in told.stdout
    assert not (tmp_path / "new").exists()


def test_doctor_says_what_to_do_where_the_port_is_taken(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = tmp_path / "config.yaml"
        text = (ROOT / "configs/synthetic.yaml").read_text()
        config.write_text(f"{text}\nserving: {{port: {port}}}\n")
        told = ostinato("doctor", "-c", str(config), "--workspace", str(tmp_path / "new"))
    assert told.returncode == 1
    assert f"port {port}" in told.stdout
    assert "serving.port" in told.stdout


def test_two_runs_in_one_workspace_do_not_mix(tmp_path):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from pathlib import Path\n"
            "from pipelines.run import alone\n"
            "with alone(Path(sys.argv[1])):\n"
            "    print('held', flush=True)\n"
            "    time.sleep(60)\n",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        told = ostinato("run", "--workspace", str(tmp_path))
        assert told.returncode == 1
        assert "another run is at work" in told.stderr
        assert time.monotonic() - started < 60
    finally:
        holder.kill()
        holder.wait()
