"""What the nodes of a job and its launcher exchange, in an object store.

An object is whole or not there, a folder is not: of each folder one file is written last and read
first, and says that all of it is there.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from recommender.errors import StorageError
from recommender.storage.store import Store
from recommender.training.checkpoint import KEPT, Checkpoint, Checkpoints

DATASET, CONFIG, OUT, FAILED, CHECKPOINTS = (
    "dataset",
    "config.json",
    "out",
    "failed.json",
    "checkpoints",
)
_LAST = {DATASET: "whole", OUT: "trained.json"}
_TENSORS, _STATE = "tensors.safetensors", "state.json"

logger = logging.getLogger(__name__)


def is_there(store: Store, folder: str) -> bool:
    """Tell whether all of a folder (`DATASET` or `OUT`) is there."""
    return store.stat(f"{folder}/{_LAST[folder]}") is not None


def put(store: Store, local: Path, folder: str) -> None:
    """Upload a folder (`DATASET` or `OUT`), so that it is seen when all of it is there.

    Raises:
        StorageError: it can't be stored.
    """
    last = _LAST[folder]
    for path in sorted(local.iterdir()):
        if path.name != last:
            store.upload(path, f"{folder}/{path.name}" if path.is_dir() else folder)
    end = local / last
    store.write_bytes(f"{folder}/{last}", end.read_bytes() if end.exists() else b"")


class RemoteCheckpoints(Checkpoints):
    """Checkpoints that also lie in an object store: a node that is lost takes none with it.

    Args:
        folder: on this node.
        fingerprint: of the training.
        store: of the training.
    """

    def __init__(self, folder: Path, fingerprint: str, store: Store) -> None:
        super().__init__(folder, fingerprint)
        self._store = store

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint here and there, and forget all but the latest two.

        Raises:
            StorageError: it can't be written; earlier ones stay.
        """
        super().save(checkpoint)
        number = max(self._numbers())
        path, key = self._path(number), self._key(number)
        self._store.upload(path / _TENSORS, key)
        self._store.write_bytes(f"{key}/{_STATE}", (path / _STATE).read_bytes())
        for old in self._remote()[:-KEPT]:
            for file in (_STATE, _TENSORS):
                self._store.delete(f"{self._key(old)}/{file}")

    def latest(self) -> Checkpoint | None:
        """Return the latest good checkpoint of those here and there; None where there is none."""
        # Another node may have gone on since this one was the first.
        for number in reversed(self._remote()):
            if self._whole(number):
                break
            # What was lost while it was fetched: its folder would pass for a checkpoint.
            shutil.rmtree(self._path(number), ignore_errors=True)
            try:
                self._store.download(self._key(number), self._path(number))
                self._read(number)
                break
            except StorageError as error:
                logger.warning("%s; going on from the one before it, if there is one", error)
        return super().latest()

    def clear(self) -> None:
        """Forget this run's checkpoints, here and there."""
        super().clear()
        for number in self._remote():
            for file in (_STATE, _TENSORS):
                self._store.delete(f"{self._key(number)}/{file}")

    def _whole(self, number: int) -> bool:
        """Tell whether a checkpoint is here, all of it and unharmed."""
        try:
            self._read(number)
        except StorageError:
            return False
        return True

    def _key(self, number: int) -> str:
        return f"{CHECKPOINTS}/{self._path(number).name}"

    def _remote(self) -> list[int]:
        """Return the numbers of the complete ones in the store, ascending."""
        keys = [entry.key for entry in self._store.list(CHECKPOINTS)]
        return sorted(
            int(key.split("/")[-2].split("-")[1]) for key in keys if key.endswith(f"/{_STATE}")
        )
