"""Whether what a run has learned is still made of numbers."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from recommender.errors import TrainingError
from recommender.training.state import Phase, Run
from recommender.training.team import Team


def finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether all numbers of all tensors are finite."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def broken(run: Run, phase: Phase, team: Team) -> TrainingError | None:
    """Return what forbids to keep a run as it stands, the same for all processes of it.

    A step whose loss and gradient were finite may still leave weights that are not; they would be
    seen in the next step's loss only, when a checkpoint of them is the last good state.

    Args:
        run: after a step.
        phase: of the run.
        team: the processes, each with its own part of the weights.
    """
    moments = (value for state in run.optimizer.state.values() for value in state.values())
    own = finite((*run.module.parameters(), *run.mean.values(), *moments))
    (faults,) = team.summed([float(not own)])
    if not faults:
        return None
    at = run.position
    return TrainingError(
        f"{phase.name}: the weights, or the optimiser's moments of them, are not finite after step "
        f"{at.step}, epoch {at.epoch + 1}, though its loss was",
        "lower training.learning_rate and run again; with other settings, training starts anew",
    )
