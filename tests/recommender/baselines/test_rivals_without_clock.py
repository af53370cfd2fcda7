"""Rivals on a log of an order alone: what its times would tell of hours and gaps is invented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rival_worlds import HOUR, LIKED, SHOWN, config_of, tastes

from recommender.artifact import Model
from recommender.baselines.rivals import fit
from recommender.config.evaluation import Rival
from recommender.features.sequences import Histories


def later(histories: Histories, hours: int) -> Histories:
    """Return the same histories at other hours of the day, each event and the question."""
    moved = hours * HOUR
    return replace(histories, times=histories.times * 3 + moved, now=histories.now * 3 + moved)


@pytest.mark.parametrize(
    "name",
    [
        "two-tower",
        "din",
        pytest.param("feed-forward", marks=pytest.mark.slow),
        pytest.param("xdeepfm", marks=pytest.mark.slow),
    ],
)
def test_where_a_log_has_an_order_alone_no_rival_reads_its_clock(
    name: Rival, tmp_path: Path
) -> None:
    config = config_of(epochs=1, cases_per_batch=256)
    no_clock = config.model.model_copy(
        update={"event_time": False, "request_time": False, "time_bias": False}
    )
    dataset = tastes(users=20)
    asked = Histories.of([([0, 3], [LIKED, SHOWN], [HOUR, 2 * HOUR])], [5 * HOUR])
    reads = fit(name, dataset, dataset.folds[0], config).scorer
    assert not np.array_equal(reads.scores(asked), reads.scores(later(asked, 7)))
    model = fit(name, dataset, dataset.folds[0], config.model_copy(update={"model": no_clock}))
    scores = model.scorer.scores(asked)
    np.testing.assert_array_equal(model.scorer.scores(later(asked, 7)), scores)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(Model.load(tmp_path / "model").scorer.scores(asked), scores)
