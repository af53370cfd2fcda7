"""What the default canary does with better, equal and worse candidates, by simulation.

The numbers in `docs/decisions/0010-the-canary.md` are these.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from recommender.config.rollout import RolloutConfig
from serving.rollout.plan import plan
from serving.rollout.retention import Stratum, kept
from serving.rollout.sequential import blocks, worse_by

CONFIG = RolloutConfig()
PLAN = plan(1491, CONFIG)  # the held-out users of the generated default data


def outcomes(stable, candidate, rollouts, seed=0):
    """Return the shares of rollouts that end in each way by their hit rates."""
    rng = np.random.default_rng(seed)
    steps = PLAN.steps[:-1]
    step = np.repeat(np.arange(len(steps)), [one.users for one in steps])
    shares = np.array([one.percent / 100 for one in steps])[step]
    found = Counter()
    for _ in range(rollouts):
        arms = rng.random(len(step)) < shares
        hits = rng.random(len(step)) < np.where(arms, candidate, stable)
        evidence = worse_by(blocks(arms.tolist(), hits.tolist()), 0.0)[0]
        if evidence >= math.log(4 / CONFIG.false_alarm):
            found["called bad"] += 1
            continue
        strata = [
            Stratum(
                (int(hits[~arms & (step == n)].sum()), int((~arms & (step == n)).sum())),
                (int(hits[arms & (step == n)].sum()), int((arms & (step == n)).sum())),
            )
            for n in range(len(steps))
        ]
        enough = kept(strata, CONFIG.false_pass) >= CONFIG.hit_rate_kept
        found["promoted" if enough else "held to the end"] += 1
    return {name: count / rollouts for name, count in found.items()}


@pytest.mark.parametrize(
    ("candidate", "ending", "least", "most"),
    [
        (0.40, "promoted", 0.98, 1.0),
        (0.27, "promoted", 0.95, 1.0),
        (0.27, "called bad", 0.0, 0.05),
        (0.135, "promoted", 0.0, 0.083),  # 5 %, and three standard errors
        (0.07, "called bad", 0.97, 1.0),
        (0.00, "called bad", 1.0, 1.0),
    ],
)
def test_where_the_champion_hits_27_in_100(candidate, ending, least, most):
    assert least <= outcomes(0.27, candidate, 400).get(ending, 0.0) <= most
