"""What the candidate would have earned on the surfaces whose propensities were logged.

The candidate is taken as a policy that fills each place on its own by a softmax of its scores;
clicks are taken to depend on the place and the item in it (the item-position model). Both are
said in the report. The reward is a success event.

Shape letters: N impressions, B requests (distinct users and moments), I items, G groups, P places.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recommender.config import Config
from recommender.evaluation.findings import OffPolicyFacts
from recommender.evaluation.off_policy.assess import assess
from recommender.evaluation.off_policy.impressions import impressions
from recommender.evaluation.off_policy.intervals import Estimate
from recommender.evaluation.off_policy.reward_model import Predicted, smoothed_means
from recommender.evaluation.records import Interval
from recommender.evaluation.score import Ranker
from recommender.features.cases import moments_shown
from recommender.features.dataset import Dataset
from recommender.features.people import with_people
from recommender.features.sequences import Exposures
from recommender.split import Fold

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
_BLOCK_SCORES = 2**23
_GROUPS = 5
_STRENGTH = 20.0


def off_policy(
    ranker: Ranker, history: int, dataset: Dataset, fold: Fold, config: Config
) -> OffPolicyFacts | None:
    """Estimate the candidate's value in the test window of the last fold.

    Args:
        ranker: the candidate, trained on what lies before the window.
        history: most recent events that it reads.
        dataset: the log, with what was exposed.
        fold: the cut.
        config: which events are a success; when the log suffices.

    Returns:
        None where the window holds no logged propensity at all.
    """
    log = dataset.log
    exposed: Exposures | None = log.exposures
    if exposed is None:
        return None
    inside = (log.times >= fold.test_start) & (log.times < fold.test_end)
    rows = np.flatnonzero(inside & (exposed.positions > 0))
    if not len(rows) or np.isnan(exposed.propensities[rows]).all():
        return None
    actions = config.actions
    success = [actions.code(name) for name in actions.successes]
    rewards = np.isin(log.actions[rows], success).astype(np.float64)
    screened = impressions(log.user_of_event[rows], rewards, exposed.propensities[rows])
    used = rows[screened.rows]
    places = np.unique(exposed.positions[used], return_inverse=True)[1]
    target, predicted = _target(
        ranker, history, dataset, config, used, places, screened.units, screened.rewards
    )
    found = assess(
        screened,
        target,
        config.evaluation.off_policy,
        predicted=predicted,
        resamples=config.evaluation.resamples,
        confidence=config.evaluation.confidence,
        seed=config.seed,
    )
    return OffPolicyFacts(
        surface=f"{int(exposed.positions[used].max())} places with logged propensities",
        reward=" or ".join(actions.successes),
        impressions=len(screened),
        users=screened.unit_count,
        rewards=found.rewards,
        logged=_interval(found.logged),
        values={name: _interval(value) for name, value in found.values.items()},
        differences={name: _interval(value) for name, value in found.differences.items()},
        effective=found.overlap.effective,
        largest_share=found.overlap.largest_share,
        mean_weight=found.overlap.mean_weight,
        set_aside=found.set_aside,
        shortcomings=found.shortcomings,
    )


def _target(
    ranker: Ranker,
    history: int,
    dataset: Dataset,
    config: Config,
    rows: Ints,
    place_N: Ints,
    unit_N: Ints,
    reward_N: Doubles,
) -> tuple[Doubles, Predicted]:
    """Return the candidate's probability of what was shown, (N,), and a model of rewards."""
    log, items = with_people(dataset.log, dataset.attributes), len(dataset.catalogue)
    shown_N = log.items[rows].astype(np.int64)
    # One request per user and moment: the places of a list share their history.
    moments = np.stack([log.user_of_event[rows], moments_shown(log)[rows]], axis=1)
    asked, request_N = np.unique(moments, axis=0, return_inverse=True)
    request_N = request_N.reshape(-1)
    group_N, places = unit_N % _GROUPS, int(place_N.max()) + 1
    q_GPI = np.stack(
        [
            smoothed_means(
                shown_N[group_N != group],
                place_N[group_N != group],
                reward_N[group_N != group],
                (places, items),
                _STRENGTH,
            )
            for group in range(_GROUPS)
        ]
    )
    known = log.of_types(config.actions.histories, config.actions)
    target_N, expected_N = np.empty(len(rows)), np.empty(len(rows))
    order = np.argsort(request_N, kind="stable")
    block = max(1, _BLOCK_SCORES // items)
    for start in range(0, len(asked), block):
        stop = min(start + block, len(asked))
        histories = known.asked(
            asked[start:stop, 0], asked[start:stop, 1], config.features.history_limit, log
        )
        chance_BI = _softmax(
            ranker.scores(histories.recent(history)).astype(np.float64)
            / config.evaluation.off_policy.temperature
        )
        expected_BC = chance_BI @ q_GPI.reshape(-1, items).T
        mine = order[np.searchsorted(request_N[order], start) :]
        mine = mine[: np.searchsorted(request_N[mine], stop)]
        row = request_N[mine] - start
        target_N[mine] = chance_BI[row, shown_N[mine]]
        expected_N[mine] = expected_BC[row, group_N[mine] * places + place_N[mine]]
    return target_N, Predicted(q_GPI[group_N, place_N, shown_N], expected_N)


def _softmax(logits_BI: Doubles) -> Doubles:
    """Return chances; an item whose score is no number has none, as it is ranked last."""
    fine_BI = np.isfinite(logits_BI)
    most_B1 = np.max(logits_BI, axis=1, keepdims=True, where=fine_BI, initial=-np.finfo(float).max)
    weight_BI = np.exp(np.where(fine_BI, logits_BI - most_B1, -np.inf))
    return np.asarray(weight_BI / np.maximum(weight_BI.sum(axis=1, keepdims=True), 1e-300))


def _interval(found: Estimate) -> Interval:
    return Interval.of(found.value, found.low, found.high)
