"""The global time split: train < validation < test, cut for all users at the same moments."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.config.split import SplitConfig
from recommender.errors import TrainingError


@dataclass(frozen=True)
class Fold:
    """One cut of time; all moments are UTC milliseconds.

    Training reads events before `validation_start`; early stopping reads the window
    `[validation_start, test_start)`; the model is tested on `[test_start, test_end)`.
    """

    validation_start: int
    test_start: int
    test_end: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fold as plain JSON values."""
        return asdict(self)


def cut(times: NDArray[np.int64], config: SplitConfig) -> tuple[Fold, ...]:
    """Cut time into folds, the candidate's last.

    Args:
        times: of all history events, UTC milliseconds, in any order, (E,).
        config: shares or explicit moments.

    Raises:
        TrainingError: the log can't be cut there (too short, all events at one time).
    """
    ordered = np.sort(times)
    if not len(ordered) or ordered[0] == ordered[-1]:
        raise TrainingError(
            f"{len(ordered)} events at one single time can't be split into past and future",
            "the log needs events at different times; check the time column of the source",
        )
    end = int(ordered[-1]) + 1
    if config.test_start is not None and config.validation_start is not None:
        explicit = [config.validation_start, config.test_start]
        starts = [round(moment.timestamp() * 1000) for moment in explicit]
        folds = [Fold(starts[0], starts[1], end)]
    else:
        last = 1 - config.test_share
        first = config.first_test_start_share if config.folds > 1 else last
        shares = np.linspace(first, last, config.folds)
        tests = [_moment(ordered, share) for share in shares]
        ends = [*tests[1:], end]
        folds = [
            Fold(_moment(ordered, share * (1 - config.validation_share / last)), test, stop)
            for share, test, stop in zip(shares, tests, ends, strict=True)
        ]
    for fold in folds:
        if not int(ordered[0]) < fold.validation_start < fold.test_start < fold.test_end:
            raise TrainingError(
                f"the log can't be cut into train < validation < test: {fold}",
                "use other shares in split, or set split.validation_start and split.test_start",
            )
    return tuple(folds)


def _moment(ordered: NDArray[np.int64], share: float) -> int:
    """Return the time before which `share` of the events lie."""
    return int(ordered[min(int(len(ordered) * share), len(ordered) - 1)])
