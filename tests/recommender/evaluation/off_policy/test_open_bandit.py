"""One policy's value from the other's log, on real logs of both (Open Bandit, men's campaign)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recommender.config.off_policy import OffPolicyConfig
from recommender.evaluation.off_policy.assess import PolicyValue, assess
from recommender.evaluation.off_policy.impressions import impressions
from recommender.evaluation.off_policy.reward_model import cross_fitted

DATA = Path(os.environ.get("OSTINATO_DATA", "../shared/data")) / "open-bandit"
pytestmark = [
    pytest.mark.needs_data,
    pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is not there"),
]


def _read(policy: str, campaign: str) -> pd.DataFrame:
    return pd.read_csv(DATA / f"{policy}_{campaign}.csv.gz")


def _frequencies(log: pd.DataFrame, items: int) -> np.ndarray:
    """How often a policy shows each item at each place: (places, items)."""
    counts = np.zeros((3, items))
    np.add.at(counts, (log["position"] - 1, log["item_id"]), 1)
    return counts / counts.sum(axis=1, keepdims=True)


def estimate(logged: pd.DataFrame, target: np.ndarray) -> PolicyValue:
    # The sample names no person: every impression is taken as somebody's own.
    log = impressions(np.arange(len(logged)), logged["click"], logged["propensity_score"])
    items, places = logged["item_id"].to_numpy(), logged["position"].to_numpy() - 1
    predicted = cross_fitted(log.units, items, places, log.rewards, target)
    return assess(log, target[places, items], OffPolicyConfig(), predicted=predicted)


@pytest.mark.parametrize("campaign", ["men", "women"])
def test_each_policys_value_is_found_in_the_others_log(campaign):
    random, thompson = _read("random", campaign), _read("bts", campaign)
    items = int(random["item_id"].max()) + 1
    uniform = np.full((3, items), 1 / items)
    for logged, target, own in (
        (random, _frequencies(thompson, items), thompson),
        (thompson, uniform, random),
    ):
        found = estimate(logged, target)
        truth, error = own["click"].mean(), own["click"].std() / np.sqrt(len(own))
        for name in ("snips", "dr"):
            value = found.values[name]
            assert value.low - 2 * error <= truth <= value.high + 2 * error, (name, found)


def test_a_log_that_one_impression_dominates_says_that_it_cannot_tell():
    thompson = _read("bts", "women")
    items = int(thompson["item_id"].max()) + 1
    found = estimate(thompson, np.full((3, items), 1 / items))
    assert found.overlap.effective < 10
    assert not found.sufficient
