"""Whom a rollout is judged by: held-out users who are replayed, or the people themselves."""

from __future__ import annotations

from collections.abc import Sequence

from recommender.config import Config
from recommender.errors import RolloutError
from serving.rollout.heldout import HeldOutUser
from serving.rollout.live_traffic import LiveTraffic
from serving.rollout.local import LocalTarget
from serving.rollout.records import Arm
from serving.rollout.replay import Replay
from serving.rollout.target import Arrivals, Target, Traffic


def traffic_of(
    config: Config, target: Target, users: Sequence[HeldOutUser], champion: str, candidate: str
) -> Traffic | Arrivals:
    """Return the configured traffic (`rollout.traffic`).

    Args:
        config: of the data set.
        target: where both arms are served.
        users: held-out users.
        champion: the stable arm's version.
        candidate: the other's.

    Raises:
        RolloutError: this target has no lane for a replay.
    """
    arms = {champion: Arm.STABLE, candidate: Arm.CANDIDATE}
    if config.rollout.traffic == "live":
        observed = target.observed if isinstance(target, LocalTarget) else None
        return LiveTraffic(config, arms, observed)
    if not isinstance(target, LocalTarget):
        raise RolloutError(
            f"the target {config.rollout.target} has no lane beside the live traffic, so held-out "
            "users can't be replayed there",
            "set rollout.traffic to live",
        )
    return Replay(config, users, target.url, arms)
