"""What losses without outcomes give: hidden items, histories changed twice, items by words and id.

    make bench PYTEST_ARGS="-k self_supervision"

The global time split as shipped, full ranking, paired intervals over users; every model sees the
same events as often. `OSTINATO_WORLDS="online-retail"` picks data sets, `OSTINATO_SET` settings of
all models.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from benchmark_settings import given_settings
from rich.console import Console
from worlds import changed, world

from pipelines.bench import contestants, fit_unified, show
from recommender.config.evaluation import PRIMARY
from recommender.evaluation.contest import Contestant, hold

WORLDS = os.environ.get("OSTINATO_WORLDS", "movielens-100k online-retail").split()
LOSSES = {
    "hidden items": {"masked": 0.2},
    "changed histories": {"contrastive": 0.1},
    "words and ids": {"alignment": 0.1},
    "all three": {"masked": 0.2, "contrastive": 0.1, "alignment": 0.1},
    "all three, first": {
        "masked": 1.0,
        "contrastive": 0.5,
        "alignment": 0.5,
        "pretraining_epochs": 2,
    },
}
"""Weights in `self_supervision`, chosen before the first run."""


@pytest.mark.benchmark
@pytest.mark.needs_data
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", WORLDS)
def test_self_supervision(
    name: str, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    given = given_settings()
    cache = tmp_path_factory.getbasetemp() / "self-supervision"
    config, dataset = world(name, shared_data, cache, given)
    systems = contestants(config, ["unified"])
    for label, weights in LOSSES.items():
        settings = {f"self_supervision.{key}": value for key, value in weights.items()}
        systems.append(Contestant(label, fit_unified, changed(config, settings)))
    contest = hold(dataset, systems, config)
    print(f"\n\n{name} {given or ''}; users by cut {contest.folds}")
    show(contest, Console(width=110))
    for found in contest.panel.comparisons:
        gap, least = found.difference[PRIMARY], found.detectable[PRIMARY]
        print(
            f"unified − {found.rival}: {gap.estimate:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}), "
            f"least detectable {least:.4f}, {found.users} users"
        )
    assert len(contest.panel.users) > 0
