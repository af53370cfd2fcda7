"""Whether reading time pays: the model with and without clocks, on four logs that have them.

    make bench PYTEST_ARGS="-k time_pays"

Global time split as shipped (rolling cuts where one leaves too few users), full ranking, paired
intervals over users; recent popularity beside them. The model without time keeps the order of the
events; all else is the same. `OSTINATO_WORLDS="taobao"` picks data sets, `OSTINATO_SET` settings of
both models.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from worlds import LOCATIONS, changed, world

from pipelines.bench import contestants, fit_unified, show
from recommender.config.evaluation import PRIMARY
from recommender.evaluation.contest import Contestant, hold

NO_TIME = {"model.event_time": False, "model.time_bias": False, "model.request_time": False}
WORLDS = os.environ.get("OSTINATO_WORLDS", " ".join(LOCATIONS)).split()


@pytest.mark.benchmark
@pytest.mark.needs_data
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", WORLDS)
def test_time_pays(name: str, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    pairs = [setting.partition("=") for setting in os.environ.get("OSTINATO_SET", "").split()]
    given = {key: yaml.safe_load(value) for key, _, value in pairs}
    cache = tmp_path_factory.getbasetemp() / "time-pays"
    config, dataset = world(name, shared_data, cache, given)
    systems = [
        *contestants(config, ["unified", "recent-popularity", "popularity", "item-knn"]),
        Contestant("without time", fit_unified, changed(config, NO_TIME)),
        Contestant("without time bias", fit_unified, changed(config, {"model.time_bias": False})),
    ]
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
