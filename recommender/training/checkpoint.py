"""Training state that survives a kill: two generations of safetensors + JSON, never half-written.

A checkpoint is a folder `<name>-<number>/` of

state.json           plain values (phase, epoch, batch, best so far, curve), the fingerprint of the
                     run, and the hash of the tensors
tensors.safetensors  weights, optimiser moments, the best weights so far, the random state

A killed process leaves the last complete one; a damaged one is passed over for the one before, and
so is one of weights that are no numbers.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recommender.errors import StorageError
from recommender.files import atomic_directory, read_json, write_json

KEPT = 2
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on.

    Attributes:
        values: plain JSON values.
        tensors: by name.
    """

    values: dict[str, Any]
    tensors: dict[str, Tensor]


class Checkpoints:
    """The checkpoints of one training run.

    Args:
        folder: of this run alone; made when first written to.
        fingerprint: of data, settings, seed and code; a checkpoint of another one is not used.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and forget all but the latest two.

        Raises:
            StorageError: the disk is full or can't be written; earlier checkpoints stay.
        """
        numbers = self._numbers()
        path = self._path(numbers[-1] + 1 if numbers else 1)
        with atomic_directory(path) as temporary:
            save_file(checkpoint.tensors, temporary / "tensors.safetensors")
            write_json(
                temporary / "state.json",
                {
                    "fingerprint": self.fingerprint,
                    "sha256": _digest(temporary / "tensors.safetensors"),
                    "values": checkpoint.values,
                },
            )
        for number in self._numbers()[:-KEPT]:
            shutil.rmtree(self._path(number), ignore_errors=True)

    def latest(self) -> Checkpoint | None:
        """Return the latest good checkpoint; None where there is none.

        A damaged or foreign one is reported to the log and passed over.
        """
        for number in reversed(self._numbers()):
            try:
                return self._read(number)
            except StorageError as error:
                logger.warning("%s; going on from the one before it, if there is one", error)
        return None

    def clear(self) -> None:
        """Forget this run's checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"checkpoint-{number:08d}"

    def _numbers(self) -> list[int]:
        return sorted(int(path.name.split("-")[1]) for path in self.folder.glob("checkpoint-*"))

    def _read(self, number: int) -> Checkpoint:
        path = self._path(number)
        state = read_json(path / "state.json")
        try:
            if state["fingerprint"] != self.fingerprint:
                raise StorageError(
                    f"checkpoint {path} belongs to another run ({state['fingerprint']}, this one "
                    f"is {self.fingerprint})"
                )
            if _digest(path / "tensors.safetensors") != state["sha256"]:
                raise StorageError(f"checkpoint {path} is damaged: its hash is not the one noted")
            tensors = load_file(path / "tensors.safetensors")
            wrong = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
            if wrong:
                raise StorageError(f"checkpoint {path} is damaged: {wrong[0]} is not finite")
            return Checkpoint(dict(state["values"]), tensors)
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise StorageError(f"checkpoint {path} is damaged: {error}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
