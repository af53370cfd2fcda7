"""The train step by processes of its own node: real torchrun, real gloo, a real SIGKILL."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from components.train import step as train
from recommender.artifact import Model
from recommender.config import Config, parse
from recommender.files import read_json

sys.path.append(str(Path(__file__).parents[1] / "recommender" / "training"))
from tiny_world import tiny_config, tiny_dataset

RUN = "run-1"


def config_of(workspace: Path, ranks: int, **training) -> Config:
    tree = tiny_config(workspace, accumulate=2, epochs=2, **training).model_dump(mode="json")
    tree["distributed"] = {"launcher": "torchrun", "ranks": ranks, "timeout_s": 120}
    return parse(tree, "test")


def run(config: Config, root: Path, out: str) -> Path:
    train.run(config.to_json(), RUN, str(root / "dataset"), str(root / out))
    return root / out / "candidate"


def kill_a_rank(checkpoints: Path, killed: list[int]) -> None:
    """Wait for the first checkpoint, then kill one of the processes that train."""
    until = time.monotonic() + 240
    while time.monotonic() < until and not list(checkpoints.glob("*/checkpoint-*/state.json")):
        time.sleep(0.01)
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue  # ended meanwhile
        if (
            "recommender.training.distributed.worker" in words
            and "torch.distributed.run" not in words
        ):
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            return


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_rank_killed_under_torchrun_is_started_again_and_nothing_is_lost(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    tiny_dataset().write(tmp_path / "dataset")
    broken, killed = config_of(tmp_path / "broken", 2), []
    killer = threading.Thread(target=kill_a_rank, args=(broken.paths.checkpoints, killed))
    killer.start()
    mended = run(broken, tmp_path, "mended")
    killer.join()
    assert killed
    whole = run(config_of(tmp_path / "whole", 2), tmp_path, "whole")
    assert (mended / "weights.safetensors").read_bytes() == (
        whole / "weights.safetensors"
    ).read_bytes()
    assert Model.load(mended).cold is not None
    record = read_json(tmp_path / "mended" / "training.json")
    assert {epoch["phase"] for epoch in record["folds"][0]["epochs"]} == {"search", "refit"}
    # What was kept to go on with is gone once the model is safe.
    assert not list(broken.paths.checkpoints.glob("*/*"))
    assert not (broken.paths.run(RUN) / "ranks").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_a_user_can_mend_is_said_once_and_not_tried_again(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    tiny_dataset().write(tmp_path / "dataset")
    config = config_of(tmp_path / "work", 3)
    with pytest.raises(
        SystemExit, match=r"3 processes share steps of 2 batches[^→]*→ set training"
    ):
        run(config, tmp_path, "model")
    assert not (tmp_path / "model" / "candidate").exists()
