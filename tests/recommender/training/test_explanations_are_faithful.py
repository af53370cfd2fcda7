"""Deletion tests on a trained model: what an explanation names first is what the score stood on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_world import tiny_config, tiny_dataset

from recommender.explain import explain
from recommender.explain.occlusion import occluded, scores_of
from recommender.features.sequences import Histories
from recommender.training.run import train

_DELETED = 2
_LISTED = 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_deleting_what_is_named_first_costs_far_more_than_deleting_at_random(
    tmp_path: Path,
) -> None:
    data = tiny_dataset()
    config = tiny_config(tmp_path, epochs=8)
    scorer = train(data, data.folds[-1], config).model.scorer
    log = data.log.of_types(config.actions.histories, config.actions)
    users = np.flatnonzero(np.diff(log.offsets) >= 8)
    rng = np.random.default_rng(0)
    named, drawn, last = [], [], []
    for user in users:
        end = int(log.times[log.offsets[user + 1] - 1])
        history = log.histories(np.array([user]), np.array([end + 60_000]), 10)
        events = len(history.items)
        items = np.argsort(-scorer.scores(history)[0])[:_LISTED].astype(np.int64)
        found = explain(scorer, history, items)
        for place in range(_LISTED):
            item = items[place : place + 1]
            first = np.argsort(-found.weights[:, place], kind="stable")[:_DELETED]
            named.append(_lost(scorer, history, item, first))
            drawn.append(_lost(scorer, history, item, rng.permutation(events)[:_DELETED]))
            last.append(_lost(scorer, history, item, np.arange(events)[-_DELETED:]))
    print(
        f"\nscore lost by deleting {_DELETED} events of {len(named)} lists: named first "
        f"{np.mean(named):.3f}, the latest {np.mean(last):.3f}, at random {np.mean(drawn):.3f}"
    )
    assert len(named) >= 60
    assert np.mean(named) > 2 * max(np.mean(drawn), 0)
    assert np.mean(named) > np.mean(last)
    wins = np.mean(np.array(named) >= np.array(drawn))
    assert wins > 0.9


def _lost(scorer, history: Histories, item: np.ndarray, deleted: np.ndarray) -> float:
    keep = np.ones((2, len(history.items)), bool)
    keep[1, deleted] = False
    full, without = scores_of(scorer, occluded(history, keep), item, len(scorer.catalogue))[:, 0]
    return float(full - without)
