"""A policy's value from another one's log: every estimator, its interval, and whether to trust it.

Shape letters: N impressions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from recommender.config.off_policy import OffPolicyConfig
from recommender.errors import EvaluationError
from recommender.evaluation.off_policy.estimators import (
    Doubles,
    Sums,
    clipped_ips,
    direct,
    doubly_robust,
    ips,
    on_policy,
    snips,
)
from recommender.evaluation.off_policy.impressions import Impressions
from recommender.evaluation.off_policy.intervals import Estimate, Intervals
from recommender.evaluation.off_policy.overlap import Overlap, overlap
from recommender.evaluation.off_policy.reward_model import Predicted


@dataclass(frozen=True)
class PolicyValue:
    """What the log says of a policy.

    Attributes:
        logged: what the logging policy earned per impression.
        values: what the other policy would have, by estimator: `ips`, `clipped_ips`, `snips`,
            and with a model of rewards `dm` and `dr`.
        differences: each of them minus `logged`, on the same people.
        overlap: whether the log covers the policy.
        rewards: impressions with a reward.
        set_aside: rows of the log that could not be used, by reason.
        shortcomings: why this is `insufficient`; empty if it is not.
    """

    logged: Estimate
    values: dict[str, Estimate]
    differences: dict[str, Estimate]
    overlap: Overlap
    rewards: int
    set_aside: dict[str, int] = field(default_factory=dict)
    shortcomings: tuple[str, ...] = ()

    @property
    def sufficient(self) -> bool:
        """Whether the figures may be relied on."""
        return not self.shortcomings


def assess(
    log: Impressions,
    target_N: Doubles,
    config: OffPolicyConfig,
    *,
    predicted: Predicted | None = None,
    uncovered: float | None = None,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 7,
) -> PolicyValue:
    """Estimate what a policy would have earned.

    Args:
        log: of the policy that served.
        target_N: with which probability the policy asked about would have shown the same, (N,).
        config: when the log suffices.
        predicted: a model of rewards, for `dm` and `dr`.
        uncovered: share of the policy's choices that the logging policy never makes, where its
            probabilities of everything else are known.
        resamples: of the bootstrap over people.
        confidence: level of the intervals.
        seed: of the draws.

    Raises:
        EvaluationError: the probabilities don't match the log.
    """
    if len(target_N) != len(log) or not ((target_N >= 0) & (target_N <= 1)).all():
        raise EvaluationError(
            f"{len(target_N)} probabilities of the policy for {len(log)} impressions; each must "
            "be in [0, 1]"
        )
    weights_N = target_N / log.propensities
    sums: dict[str, Sums] = {
        "logged": on_policy(log.units, log.rewards),
        "ips": ips(log.units, log.rewards, weights_N),
        "clipped_ips": clipped_ips(log.units, log.rewards, weights_N, config.cap),
        "snips": snips(log.units, log.rewards, weights_N),
    }
    if predicted is not None:
        sums["dm"] = direct(log.units, predicted.expected)
        sums["dr"] = doubly_robust(
            log.units, log.rewards, weights_N, predicted.expected, predicted.shown
        )
    names = list(sums)
    intervals = Intervals(
        list(sums.values()), resamples=resamples, confidence=confidence, seed=seed
    )
    covered = overlap(log.units, weights_N, uncovered)
    rewards = int((log.rewards != 0).sum())
    return PolicyValue(
        logged=intervals.of(0),
        values={name: intervals.of(row) for row, name in enumerate(names) if row},
        differences={name: intervals.difference(row, 0) for row, name in enumerate(names) if row},
        overlap=covered,
        rewards=rewards,
        set_aside=dict(log.set_aside),
        shortcomings=_shortcomings(log, covered, rewards, config),
    )


def _shortcomings(
    log: Impressions, covered: Overlap, rewards: int, config: OffPolicyConfig
) -> tuple[str, ...]:
    said = []
    if covered.units < config.minimum_users:
        said.append(f"{covered.units:,} people; {config.minimum_users:,} are asked for")
    if covered.effective < config.minimum_effective:
        said.append(
            f"an effective sample of {covered.effective:,.0f} impressions; "
            f"{config.minimum_effective:,.0f} are asked for"
        )
    if rewards < config.minimum_rewards:
        said.append(f"{rewards:,} rewards; {config.minimum_rewards:,} are asked for")
    if covered.uncovered is not None and covered.uncovered > config.maximum_uncovered:
        said.append(f"{covered.uncovered:.1%} of the policy's choices were never logged")
    if covered.off_balance > config.maximum_off_balance:
        said.append(
            f"weights average to {covered.mean_weight:.3f}, {covered.off_balance:.1f} standard "
            "errors from 1: propensities are wrong, or part of the policy was never logged"
        )
    if (lost := log.share_set_aside()) > config.maximum_set_aside:
        kinds = ", ".join(f"{kind}: {count:,}" for kind, count in log.set_aside.items())
        said.append(f"{lost:.1%} of the log can't be weighed ({kinds})")
    return tuple(said)
