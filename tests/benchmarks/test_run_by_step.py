"""Wall time, CPU time and peak memory of a whole run, by step, and the pipeline's own overhead.

    make bench PYTEST_ARGS="-k run_by_step"

Prints the rows of `docs/benchmarks.md`. Nothing about time is asserted: the machine decides.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.benchmark
@pytest.mark.parametrize(
    "name",
    [
        "synthetic",
        pytest.param("movielens-small", marks=pytest.mark.needs_data),
        pytest.param("online-retail", marks=pytest.mark.needs_data),
    ],
)
def test_run_by_step(name: str, tmp_path: Path) -> None:
    base = [sys.executable, "-m", "pipelines.cli"]
    where = ["--config", f"configs/{name}.yaml", "--workspace", str(tmp_path)]
    try:
        told = subprocess.run(
            [*base, "run", *where, "--set", f"serving.port={free_port()}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stdout + told.stderr
    finally:
        subprocess.run([*base, "stop", *where], cwd=ROOT, check=False)
    (run,) = (tmp_path / "runs").iterdir()
    timing = json.loads((run / "timing.json").read_text())
    print(f"\n\n### {name}: {platform.machine()}, {os.cpu_count()} cores\n")
    print("| step | wall s | CPU s | peak memory MB |\n|---|---:|---:|---:|")
    for step, took in sorted(timing["steps"].items(), key=lambda pair: pair[0]):
        print(
            f"| {step} | {took['seconds']:.1f} | {took['cpu_seconds']:.1f} "
            f"| {took['peak_memory_mb']:.0f} |"
        )
    print(
        f"| **run** | **{timing['wall_seconds']:.1f}** | | | \n\n"
        f"Pipeline overhead: {100 * timing['overhead_share']:.1f} % of the wall time.\n"
    )
    assert set(timing["steps"]) >= {"ingest", "validate", "materialize", "train", "evaluate"}
