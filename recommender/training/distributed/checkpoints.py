"""Checkpoints of a group: the first process writes and reads them, the others are told."""

from __future__ import annotations

from recommender.training.checkpoint import Checkpoint, Checkpoints
from recommender.training.distributed.ranks import Ranks


class SharedCheckpoints(Checkpoints):
    """The checkpoints of one training run, for every process of a group alike.

    Only the first process needs to reach the place where they lie.

    Args:
        own: that place.
        ranks: the group.
    """

    def __init__(self, own: Checkpoints, ranks: Ranks) -> None:
        super().__init__(own.folder, own.fingerprint)
        self._own = own
        self._ranks = ranks

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; returns everywhere when it is written.

        Raises:
            StorageError: it can't be written; earlier ones stay.
        """
        self._ranks.told(lambda: self._own.save(checkpoint))

    def latest(self) -> Checkpoint | None:
        """Return the latest good checkpoint; None where there is none."""
        found = self._own.latest() if self._ranks.rank == 0 else None
        values = self._ranks.told(lambda: None if found is None else found.values)
        if values is None:
            return None
        return Checkpoint(values, self._ranks.tensors(found.tensors if found else None))

    def clear(self) -> None:
        """Forget this run's checkpoints."""
        self._ranks.told(self._own.clear)
