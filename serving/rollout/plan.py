"""Which steps a rollout takes and how many users each of them gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from recommender.config.rollout import RolloutConfig

# Standard deviations of reserve: how surely an arm gets its minimum from a step's own users. Early
# steps may draw more (nine times in ten they need not); after the deciding one there are no more.
_RESERVE, _DECIDING_RESERVE = 1.28, 2.33


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        percent: of the users that the candidate gets.
        users: planned for it.
        least: what it needs so that both arms most likely get their minimum.
    """

    percent: int
    users: int
    least: int

    @property
    def concurrent(self) -> bool:
        """Whether both arms are served."""
        return self.percent < 100


@dataclass(frozen=True)
class Plan:
    """The steps of one rollout.

    Attributes:
        steps: in order; the last one is 100 %. None at all if there are too few users for any.
        left_out: percents of the configured steps for which there are too few users.
        users: held-out users at hand.
    """

    steps: tuple[Step, ...]
    left_out: tuple[int, ...]
    users: int

    @property
    def last_concurrent(self) -> int:
        """Index of the last step with both arms: the one that decides."""
        return len(self.steps) - 2

    def least_after(self, index: int) -> int:
        """Return the users that the steps after one need; what is beyond may be drawn before."""
        return sum(step.least for step in self.steps[index + 1 :])

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return {
            "steps": [asdict(step) for step in self.steps],
            "left_out": list(self.left_out),
            "users": self.users,
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Plan:
        """Read what `to_dict` wrote."""
        steps = tuple(Step(**step) for step in told["steps"])
        return cls(steps, tuple(told["left_out"]), told["users"])


def users_for(percent: int, minimum: int, reserve: float = _RESERVE) -> int:
    """Return how many users a step needs so that both its arms most likely get the minimum.

    Users fall to an arm by a hash, so their number is binomial; solves
    n · share − reserve · √(n · share · (1 − share)) ≥ minimum for the smaller arm.
    """
    share = min(percent, 100 - percent) / 100
    if not share:
        return minimum
    spread = reserve * math.sqrt(share * (1 - share))
    root = (spread + math.sqrt(spread**2 + 4 * share * minimum)) / (2 * share)
    return math.ceil(root**2)


def plan(users: int, config: RolloutConfig) -> Plan:
    """Spread the held-out users over the steps, so that every step has users of its own.

    Early steps get what a verdict needs; all others go to the last step with both arms, which
    decides. Small shares cost the most users: where there are too few, they are left out first.

    Args:
        users: held-out users at hand.
        config: steps and minimum.
    """
    minimum = config.minimum_users_per_arm
    percents = list(config.steps)
    while len(percents) > 1:
        steps = _least(percents, minimum)
        if (spare := users - sum(step.users for step in steps)) >= 0:
            steps[-2] = replace(steps[-2], users=steps[-2].users + spare)
            left_out = tuple(p for p in config.steps if p not in percents)
            return Plan(tuple(steps), left_out, users)
        percents.pop(0)
    return Plan((), config.steps, users)


def live_plan(config: RolloutConfig) -> Plan:
    """Return the steps of a rollout on live traffic: all of them, as nobody knows who will come.

    Args:
        config: steps and the minimum of users.
    """
    minimum = config.live.users_per_arm
    return Plan(tuple(Step(percent, minimum, minimum) for percent in config.steps), (), 0)


def least_users(config: RolloutConfig) -> int:
    """Return the users without which no canary is possible: for the last two steps."""
    return sum(step.least for step in _least(config.steps[-2:], config.minimum_users_per_arm))


def _least(percents: Sequence[int], minimum: int) -> list[Step]:
    """Return steps with what they need and no more; the last but one decides."""
    decides = len(percents) - 2
    reserves = (_DECIDING_RESERVE if n == decides else _RESERVE for n in range(len(percents)))
    needed = [users_for(p, minimum, r) for p, r in zip(percents, reserves, strict=True)]
    return [Step(percent, users, users) for percent, users in zip(percents, needed, strict=True)]
