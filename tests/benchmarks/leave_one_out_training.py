"""Training for the protocol of papers: each user's last event is asked for, all before it is known.

Not how the product is judged (`recommender.evaluation.protocols` says why): for comparison only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from recommender.config import Config
from recommender.evaluation.protocols import LeaveOneOut
from recommender.features.dataset import Dataset
from recommender.training.run import train_once
from recommender.training.trained import Trained


def train_leave_one_out(
    dataset: Dataset,
    cut: LeaveOneOut,
    config: Config,
    on_step: Callable[[int], None] | None = None,
) -> Trained:
    """Train without each user's last two events.

    Args:
        dataset: what was cut.
        cut: by `leave_one_out`.
        config: the whole tree; all of `training.epochs` are run.
        on_step: called with the number of every finished step.

    Raises:
        TrainingError: too little data, or a loss that is not finite.
    """
    return train_once(
        replace(dataset, log=cut.train),
        None,
        config,
        "leave-one-out",
        on_step,
    )
