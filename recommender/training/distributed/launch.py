"""Starts torchrun on this node, waits for it, and takes what it leaves.

Torchrun watches the processes: when one dies it ends the others and starts all again, at most
`distributed.restarts` times, and they go on from their last checkpoint.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from recommender import errors
from recommender.artifact import Model
from recommender.config import Config
from recommender.errors import TrainingError, UserError
from recommender.files import read_json
from recommender.split import Fold
from recommender.training.distributed.ground import fingerprint_of_folder
from recommender.training.distributed.worker import at_workspace, failure_of
from recommender.training.state import Epoch
from recommender.training.trained import Trained

_ENDING_S = 30.0


def ranks_here(config: Config) -> int:
    """Return how many processes train on this node."""
    import torch

    return config.distributed.ranks or max(1, torch.cuda.device_count())


def torchrun(config: Config, *, rendezvous: Sequence[str] = ("--standalone",)) -> list[str]:
    """Return the command that starts and watches the processes of this node.

    Args:
        config: the whole tree.
        rendezvous: how the nodes find each other; by default there is one.
    """
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *rendezvous,
        f"--nproc-per-node={ranks_here(config)}",
        f"--max-restarts={config.distributed.restarts}",
        *("-m", "recommender.training.distributed.worker"),
    ]


def train_in_processes(dataset: Path, place: int, config: Config, out: Path) -> Trained:
    """Train one fold by processes on this node.

    Killed and started again, it goes on from the last checkpoint; a model that is already there is
    taken.

    Args:
        dataset: folder of the data set.
        place: of the fold.
        config: the whole tree.
        out: the folder that gets `model` and `trained.json`; its parent must be this run's own.

    Raises:
        TrainingError: too little data, a loss that is not finite, or processes that died again
            and again.
        UserError: whatever else a user can mend.
    """
    failure_of(out).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "config.json"
        told.write_text(config.to_json(), encoding="utf-8")
        words = [*torchrun(config), str(dataset), str(told), str(place), str(out)]
        status = run(words, {"OMP_NUM_THREADS": str(config.training.threads)})
    must_be_there(out, status, config)
    return trained_at(out)


def run(words: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run a command that watches processes, and return its status; when we end, it ends them."""
    with subprocess.Popen(list(words), env={**os.environ, **variables}) as process:  # noqa: S603 ours
        try:
            return process.wait()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_ENDING_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def must_be_there(out: Path, status: int, config: Config) -> None:
    """Make sure that training has left a model.

    Raises:
        UserError: the one that ended it.
        TrainingError: the processes died.
    """
    failure = failure_of(out)
    if failure.exists():
        told = read_json(failure)
        kind = getattr(errors, told["kind"], TrainingError)
        mendable = isinstance(kind, type) and issubclass(kind, UserError)
        raise (kind if mendable else TrainingError)(told["message"], told["hint"])
    if status or not (out / "trained.json").exists():
        raise TrainingError(
            f"the processes that train have died (torchrun ended with status {status}, after "
            f"{config.distributed.restarts} restarts at most)",
            "the log says why; run again to go on from the last checkpoint, or raise "
            "distributed.restarts",
        )


def trained_at(out: Path) -> Trained:
    """Return what the processes have left.

    Raises:
        ArtifactError: it isn't readable.
    """
    told = read_json(out / "trained.json")
    return Trained(
        Model.load(out / "model"),
        tuple(Epoch(**row) for row in told["curve"]),
        int(told["best_epoch"]),
        int(told["validation_users"]),
        int(told["parameters"]),
        str(told["fingerprint"]),
    )


def forget_processes(dataset: Path, fold: Fold, config: Config) -> None:
    """Remove the checkpoints of a training whose model is safe elsewhere."""
    at_workspace(config, fingerprint_of_folder(dataset, fold, config)).clear()
