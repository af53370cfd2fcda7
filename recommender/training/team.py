"""The processes that train one model together; alone, by default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch

from recommender.features.sequences import Catalogue
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.scoring import Scorer
from recommender.training.batches import Batch
from recommender.training.rows import clip
from recommender.training.tasks import Lost

Losses = Callable[[Batch], Lost]
"""The losses of a batch."""
LossesOf = Callable[[UnifiedTransformer, Batch], Lost]
"""The losses of a module on a batch."""


class Team(Protocol):
    """What the training loop needs to know of the other processes."""

    @property
    def size(self) -> int:
        """How many they are, this one included."""

    @property
    def device(self) -> torch.device | None:
        """Where this one computes; None: wherever the settings say."""

    def share_out(self, module: UnifiedTransformer) -> None:
        """Leave in a module what this process keeps of it in training."""

    def put_together(self, module: UnifiedTransformer) -> None:
        """Give a module, after training, what the others have kept of it."""

    def clip(self, module: UnifiedTransformer, most: float) -> float:
        """Scale a step's gradients to a norm of at most `most`; return the norm they had."""

    def scorer(self, module: UnifiedTransformer, catalogue: Catalogue) -> Scorer:
        """Return what ranks the catalogue by a module in training."""

    def losses(self, module: UnifiedTransformer, objective: LossesOf) -> Losses:
        """Return the losses of a batch; their gradients are averaged over the processes."""

    def gathering(self, losses: Losses, *, last: bool) -> AbstractContextManager[None]:
        """Return what a batch is computed in: gradients are exchanged with the last one only.

        Args:
            losses: from `losses`.
            last: whether it is this process's last batch of the step.
        """

    def summed(self, values: Sequence[float]) -> list[float]:
        """Return sums over the processes, in double precision."""


class Whole:
    """What goes for every process that holds all of the module."""

    def share_out(self, module: UnifiedTransformer) -> None:
        """Leave all of it."""

    def put_together(self, module: UnifiedTransformer) -> None:
        """Leave all of it."""

    def clip(self, module: UnifiedTransformer, most: float) -> float:
        """Scale the gradients to a norm of at most `most`; return the norm they had."""
        return clip(module.parameters(), most)

    def scorer(self, module: UnifiedTransformer, catalogue: Catalogue) -> Scorer:
        """Return what ranks the catalogue."""
        return TransformerScorer(module, catalogue)


class Alone(Whole):
    """One process."""

    size = 1
    device: torch.device | None = None

    def losses(self, module: UnifiedTransformer, objective: LossesOf) -> Losses:
        """Return the losses of a batch."""
        return lambda batch: objective(module, batch)

    def gathering(self, losses: Losses, *, last: bool) -> AbstractContextManager[None]:  # noqa: ARG002
        """Return what changes nothing."""
        return nullcontext()

    def summed(self, values: Sequence[float]) -> list[float]:
        """Return the values."""
        return list(values)
