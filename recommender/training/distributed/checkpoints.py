"""Checkpoints of a group: the first process writes and reads them, the others are told."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from recommender.model.transformer import ITEM_ROWS
from recommender.training.checkpoint import Checkpoint, Checkpoints
from recommender.training.distributed.ranks import Ranks
from recommender.training.distributed.shards import collected, shared_out


class SharedCheckpoints(Checkpoints):
    """The checkpoints of one training run, for every process of a group alike.

    Only the first process needs to reach the place where they lie. Where the processes share the
    item tables out, a checkpoint has whole tables all the same: so others, more or fewer, or one
    that shares nothing, can go on from it.

    Args:
        own: that place.
        ranks: the group.
        shards: whether tensors by item hold this process's rows only.
    """

    def __init__(self, own: Checkpoints, ranks: Ranks, *, shards: bool = False) -> None:
        super().__init__(own.folder, own.fingerprint)
        self._own = own
        self._ranks = ranks
        self._shards = shards

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; returns everywhere when it is written.

        Raises:
            StorageError: it can't be written; earlier ones stay.
        """
        tensors = {
            name: collected(value, self._ranks) if self._by_row(name, value) else value
            for name, value in checkpoint.tensors.items()
        }
        self._ranks.told(lambda: self._own.save(replace(checkpoint, tensors=tensors)))

    def latest(self) -> Checkpoint | None:
        """Return the latest good checkpoint; None where there is none."""
        found = self._own.latest() if self._ranks.rank == 0 else None
        values = self._ranks.told(lambda: None if found is None else found.values)
        if values is None:
            return None
        held = found.tensors if found else {}
        rows = {name: value for name, value in held.items() if self._by_row(name, value)}
        others = {name: value for name, value in held.items() if name not in rows}
        tensors = self._ranks.tensors(others if found else None)
        described = [[name, list(value.shape), str(value.dtype)] for name, value in rows.items()]
        for name, shape, kind in self._ranks.told(lambda: described):
            tensors[name] = shared_out(rows.get(name), shape, kind, self._ranks)
        return Checkpoint(values, tensors)

    def _by_row(self, name: str, value: Tensor) -> bool:
        """Tell whether a tensor (`weights/…`, `optimizer/…/exp_avg`) has a row per item."""
        table = any(f"/{one}" in name for one in ITEM_ROWS)
        return self._shards and table and value.ndim > 0

    def clear(self) -> None:
        """Forget this run's checkpoints."""
        self._ranks.told(self._own.clear)
