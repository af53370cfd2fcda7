"""Whether reading time pays: the model with and without clocks, on four logs that have them.

    make bench PYTEST_ARGS="-k time_pays"

Global time split as shipped (rolling cuts where one leaves too few users), full ranking, paired
intervals over users; recent popularity beside them. The model without time keeps the order of the
events; all else is the same. `OSTINATO_WORLDS="taobao"` picks data sets, `OSTINATO_SET` settings of
all models, `OSTINATO_TIME="bias request bias+request"` which of the inputs further models read
(by default all but the bias).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from benchmark_settings import given_settings
from rich.console import Console
from worlds import LOCATIONS, changed, world

from pipelines.bench import contestants, fit_unified, show
from recommender.config.evaluation import PRIMARY
from recommender.evaluation.contest import Contestant, hold

INPUTS = {"bias": "model.time_bias", "events": "model.event_time", "request": "model.request_time"}
VARIANTS = os.environ.get("OSTINATO_TIME", "events+request").split()
WORLDS = os.environ.get("OSTINATO_WORLDS", " ".join(LOCATIONS)).split()


def reading(inputs: list[str]) -> dict[str, bool]:
    """The settings of a model that reads these inputs of time and no others."""
    return {setting: name in inputs for name, setting in INPUTS.items()}


@pytest.mark.benchmark
@pytest.mark.needs_data
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", WORLDS)
def test_time_pays(name: str, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    given = given_settings()
    cache = tmp_path_factory.getbasetemp() / "time-pays"
    config, dataset = world(name, shared_data, cache, given)
    systems = [
        *contestants(config, ["unified", "recent-popularity", "popularity", "item-knn"]),
        Contestant("without time", fit_unified, changed(config, reading([]))),
        *(
            Contestant(f"{each} alone", fit_unified, changed(config, reading(each.split("+"))))
            for each in VARIANTS
        ),
    ]
    contest = hold(dataset, systems, config)
    print(f"\n\n{name} {given or ''}; users by cut {contest.folds}")
    show(contest, Console(width=110))
    panel = contest.panel
    pairs = [("unified", rival) for rival in panel.runs if rival != "unified"]
    pairs += [(f"{each} alone", "without time") for each in VARIANTS]
    for name, rival in pairs:
        found = panel.comparison(name, rival)
        gap, least = found.difference[PRIMARY], found.detectable[PRIMARY]
        print(
            f"{name} − {rival}: {gap.estimate:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}), "
            f"least detectable {least:.4f}, {found.users} users"
        )
    assert len(contest.panel.users) > 0
