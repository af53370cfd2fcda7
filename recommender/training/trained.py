"""What a training leaves: the model, its curve, and what it was made of."""

from __future__ import annotations

from dataclasses import dataclass

from recommender.artifact import Model
from recommender.config.training import KeepBy
from recommender.training.state import Epoch


@dataclass(frozen=True)
class Trained:
    """A trained model and how it got there.

    Attributes:
        model: ready to be saved.
        curve: one row per epoch of both phases.
        best_epoch: of the search; the refit ran for as many.
        validation_users: how many users stand behind the validation figures.
        parameters: trainable numbers.
        fingerprint: of data, settings, seed and code.
        kept_by: the measure that the best epoch is best by, as in `training.keep_by`.
    """

    model: Model
    curve: tuple[Epoch, ...]
    best_epoch: int
    validation_users: int
    parameters: int
    fingerprint: str
    kept_by: KeepBy = "ndcg"

    @property
    def best(self) -> Epoch:
        """The best epoch of the search."""
        return self.curve[self.best_epoch - 1]

    @property
    def validation_ndcg(self) -> float | None:
        """NDCG@10 of the best epoch of the search; None where it was not asked for."""
        return self.best.ndcg

    @property
    def validation_quality(self) -> float | None:
        """What the best epoch is best by, higher is better; None where nobody could be asked."""
        return self.best.quality

    @property
    def seconds(self) -> float:
        """Time spent in steps, of all phases, interrupted ones included."""
        return sum(epoch.seconds for epoch in self.curve)
