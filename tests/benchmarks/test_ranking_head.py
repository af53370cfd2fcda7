"""The ranking head against DIN and xDeepFM: who takes what is put in front of them?

    make bench PYTEST_ARGS="-k ranking_head"

The same cases, histories and item features for all; each is trained on what lies before the
validation window and kept at the epoch that is best there by AUC within users. MovieLens: is the
film rated 4 or more (time split, the last fifth of the events). Taobao, every fourth user: is it
bought, against four sampled items that were not (`ranking_worlds.with_negatives`). Intervals are of
the difference within users, by bootstrap over users. `OSTINATO_WORLDS`, `OSTINATO_RANKERS`,
`OSTINATO_SET` and `OSTINATO_WINDOW=validation` pick data sets, rankers, settings and the window.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from benchmark_settings import given_settings
from ranking_worlds import digest, ranking_world
from worlds import changed

from recommender.baselines.neural.din import DIN
from recommender.baselines.neural.ranking_cases import RankingCases
from recommender.baselines.neural.xdeepfm import XDeepFM
from recommender.config import Config
from recommender.evaluation.metrics.classification import UserAUC, auc, log_loss, user_auc
from recommender.evaluation.metrics.rating import mae, rmse
from recommender.features.cases import carried
from recommender.features.dataset import Dataset
from recommender.model.scorer import TransformerScorer
from recommender.scoring import ActionModel, ValueModel
from recommender.training.case_judges import judge_of
from recommender.training.checkpoint import Checkpoints
from recommender.training.device import deterministic
from recommender.training.fresh_module import fresh_module
from recommender.training.log_read import examples_of
from recommender.training.loop import fit
from recommender.training.state import Phase

WORLDS = os.environ.get("OSTINATO_WORLDS", "movielens-100k movielens-small taobao").split()
RANKERS = os.environ.get("OSTINATO_RANKERS", "target plain din xdeepfm").split()
_AT_ONCE = 2048


def unified(dataset: Dataset, config: Config, tmp_path: Path) -> TransformerScorer:
    """Train both tasks together and keep the epoch that ranks best."""
    fold = dataset.folds[-1]
    with deterministic(1):
        examples = examples_of(dataset, fold.validation_start, config)
        module = fresh_module(dataset, examples, config)
        judge = judge_of(dataset, fold, config)
        phase = Phase("search", examples, judge, config.training.epochs, config.seed)
        checkpoints = Checkpoints(tmp_path / config.fingerprint(), config.fingerprint())
        epoch, curve = fit(
            phase, module, dataset.catalogue, config.training, checkpoints, "unified"
        )
    print(f"epoch {epoch}:", " ".join(f"{row.quality:.4f}" for row in curve))
    return TransformerScorer(module, dataset.catalogue)


def trained(name: str, dataset: Dataset, config: Config, tmp_path: Path) -> ActionModel:
    """Train one of the rankers."""
    if name in ("din", "xdeepfm"):
        kind = DIN if name == "din" else XDeepFM
        return cast(ActionModel, kind.fit(dataset, dataset.folds[-1], config).scorer)
    return unified(dataset, changed(config, {"model.ranking.head": name}), tmp_path)


@pytest.mark.benchmark
@pytest.mark.needs_data
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("name", WORLDS)
def test_ranking_head(
    name: str, shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = given_settings()
    config, dataset = ranking_world(name, shared_data, tmp_path, given)
    caplog.set_level("INFO", "recommender.baselines")
    torch.set_num_threads(1)
    fold, types = dataset.folds[-1], len(config.actions.types)
    start, stop = fold.test_start, fold.test_end
    if os.environ.get("OSTINATO_WINDOW") == "validation":
        start, stop = fold.validation_start, fold.test_start
    window = RankingCases.between(dataset, start, stop, config)
    reached = window.found.reached
    # Of Taobao, what was bought and what was drawn; a cart that was left behind is neither.
    rows = np.flatnonzero((reached == types) | (reached == 1))
    users = window.log.user_of_event[window.found.rows[rows]]
    labels = reached[rows] == types
    print(
        f"\n\n{name} {given or ''}: {len(rows):,} cases, {labels.sum():,} positive, "
        f"{len(np.unique(users)):,} users"
        + (f"; negatives {digest(dataset.log)}" if name == "taobao" else "")
    )
    found: dict[str, UserAUC] = {}
    for ranker in RANKERS:
        cpu = time.process_time()
        model = trained(ranker, dataset, config, tmp_path)
        cpu = time.process_time() - cpu
        chances = np.concatenate(
            [
                model.action_probabilities(window.histories(some), window.items(some)[:, None])[
                    :, 0, -1
                ]
                for some in np.array_split(rows, -(-len(rows) // _AT_ONCE))
            ]
        ).astype(np.float64)
        found[ranker] = user_auc(users, labels, chances)
        line = (
            f"| {ranker} | {found[ranker].value:.4f} | {auc(labels, chances):.4f} | "
            f"{log_loss(labels, chances):.4f} | {cpu:.0f} |"
        )
        print(line + _ratings(model, config, dataset, window, stop))
    for note in caplog.messages:
        print(note)
    first, *others = RANKERS
    for other in others:
        print(f"{first} − {other}: {_difference(found[first], found[other])}")
    assert len(found[first].users) > 0


def _ratings(
    model: ActionModel, config: Config, dataset: Dataset, window: RankingCases, stop: int
) -> str:
    """Say how far expected values are from those that were given."""
    values = config.model.ranking.values
    if not values or not isinstance(model, ValueModel):
        return ""
    codes = [[config.actions.code(event) for event in values[0].events]]
    given = carried(dataset.log.before(stop), len(dataset.catalogue), window.found, codes, stop)
    rows = np.flatnonzero(~np.isnan(given[:, 0]))
    told = model.expected_values(window.histories(rows), window.items(rows)[:, None])
    truth, told_N = given[rows, 0].astype(np.float64), told[:, 0, -1].astype(np.float64)
    mean = dataset.log.values[dataset.log.times < dataset.folds[-1].validation_start].mean()
    flat = np.full(len(truth), float(mean))
    return (
        f" RMSE {rmse(truth, told_N):.4f}, MAE {mae(truth, told_N):.4f} "
        f"(the mean: {rmse(truth, flat):.4f}, {mae(truth, flat):.4f})"
    )


def _difference(one: UserAUC, other: UserAUC) -> str:
    gap, weights = one.each - other.each, one.weights.astype(np.float64)
    random = np.random.default_rng(5)
    drawn = random.integers(0, len(gap), (2000, len(gap)))
    means = (gap * weights)[drawn].sum(axis=1) / weights[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{np.average(gap, weights=weights):+.4f} ({low:+.4f} to {high:+.4f}), {len(gap)} users"
