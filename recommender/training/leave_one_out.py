"""Training for the protocol of papers: each user's last event is asked for, all before it is known.

Not how the product is judged (`recommender.evaluation.protocols` says why): for comparison only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from recommender.config import Config
from recommender.evaluation.frozen import EvaluationSet
from recommender.evaluation.protocols import LeaveOneOut
from recommender.features.dataset import Dataset
from recommender.training.run import train_once
from recommender.training.trained import Trained
from recommender.training.validation import Validation


def train_leave_one_out(
    dataset: Dataset,
    cut: LeaveOneOut,
    config: Config,
    on_step: Callable[[int], None] | None = None,
    *,
    every_epoch: bool = False,
) -> Trained:
    """Train without each user's last two events.

    Args:
        dataset: what was cut.
        cut: by `leave_one_out`.
        config: the whole tree; all of `training.epochs` are run, unless they are validated.
        on_step: called with the number of every finished step.
        every_epoch: whether each epoch is validated by the last event but one, and the best kept.

    Raises:
        TrainingError: too little data, or a loss that is not finite.
    """
    return train_once(
        replace(dataset, log=cut.train),
        asked(cut.validation) if every_epoch else None,
        config,
        "leave-one-out",
        on_step,
    )


def asked(requests: EvaluationSet) -> Validation:
    """Return the requests of an evaluation set as training asks them."""
    rows = np.arange(len(requests))
    owner = np.repeat(rows, requests.relevant_counts)
    return Validation(
        requests.histories(rows),
        requests.exclude_seen,
        requests.users,
        np.sort(owner * len(requests.catalogue) + requests.relevant),
        requests.relevant_counts,
    )
