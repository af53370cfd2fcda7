"""From a registered version to what people are served: champion first, then the canary."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from feature_repo.locations import Lane, project_name
from recommender.config import Config
from recommender.errors import FeatureError
from recommender.privacy import pseudonyms
from recommender.registry import Registry
from recommender.tables import Tables
from serving.freshness import is_stale
from serving.rollout.baseline import register_baseline
from serving.rollout.engine import Engine
from serving.rollout.heldout import HeldOutUser, held_out
from serving.rollout.state import Phase, Rollouts, State
from serving.rollout.targets import target_of
from serving.rollout.traffic import traffic_of

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """How it ended."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    UNCHANGED = "unchanged"
    """The version is the champion already."""


@dataclass(frozen=True)
class Release:
    """What came of it.

    Attributes:
        outcome: how it ended.
        reason: why, for people.
        champion: version that is served now.
        endpoint: base URL; "" where the target doesn't know it.
        rollout: its final state; None where there was none.
        users: the held-out users, in the order in which they were replayed.
    """

    outcome: Outcome
    reason: str
    champion: str
    endpoint: str
    rollout: State | None
    users: tuple[HeldOutUser, ...]


def rollouts_of(config: Config) -> Rollouts:
    """Return the rollouts of a data set."""
    return Rollouts(config.paths.serving / "rollouts")


def release(
    config: Config, tables: Tables, data_version: str, version: str, run_id: str
) -> Release:
    """Roll a version out by the configured target, against whatever is champion.

    Where nothing is served yet, popularity is deployed first. What an earlier call left undone
    (it was killed) is finished or taken back before anything else.

    Args:
        config: the whole configuration.
        tables: clean canonical tables.
        data_version: of the tables.
        version: in the registry, deployable.
        run_id: of the pipeline run.

    Raises:
        UserError: something other than the candidate is in the way; what was served before still
            is, and the champion is the same.
    """
    registry = Registry.configured(config)
    fold = registry.lineage(version).folds[-1]
    target = target_of(config, registry)
    # As of None: just after the last event, those included that have been streamed since.
    publish = _once(lambda: _publish(config, tables, None, "live", data_version))
    rollouts = rollouts_of(config)
    engine = Engine(target, registry, rollouts, config.rollout, publish, run_id)
    users = held_out(tables, config, fold, pseudonyms(config.paths.keys))
    with rollouts.locked():
        settled = engine.settle()
        champion = registry.champion()
        if champion is None:
            champion = register_baseline(registry, tables, config, fold, data_version, run_id)
            logger.info("nothing is served yet: popularity (%s) goes first", champion)
            publish()
            target.prepare(champion)
            registry.promote(champion, run_id=run_id, reason="the first champion: popularity")
        # What is too old to be served is published anew, before anything is started on it.
        if champion == version or not _as_of(config, "live", users) or _is_stale(config):
            publish()
        engine.serve(champion)
        state = None
        if settled and settled.candidate == version and (settled.lost or champion == version):
            state = settled  # the decision was made, and only its execution was cut off
        elif champion != version:
            replayed = config.rollout.traffic == "replay"
            if replayed and _as_of(config, "rehearsal", users) != {fold.test_start}:
                # Another run came in between, or the version is one of an earlier run.
                _publish(config, tables, fold.test_start, "rehearsal", data_version)
            traffic = traffic_of(config, target, users, champion, version)
            state = engine.run(version, champion, traffic)
        return _told(state, version, champion, str(getattr(target, "url", "")), users)


def go_on(config: Config, tables: Tables, data_version: str) -> State | None:
    """Do what a person has said about a rollout that nobody drives at this moment.

    Args:
        config: the whole configuration.
        tables: clean canonical tables, for a promotion.
        data_version: of the tables.

    Returns:
        the rollout's final state, or None if there was nothing to do.

    Raises:
        RolloutError: somebody drives it after all, and will have heard.
        UserError: something is in the way; champion and live traffic agree all the same.
    """
    registry, rollouts = Registry.configured(config), rollouts_of(config)
    publish = _once(lambda: _publish(config, tables, None, "live", data_version))
    target = target_of(config, registry)
    engine = Engine(target, registry, rollouts, config.rollout, publish, "by hand")
    with rollouts.locked():
        return engine.obey()


def _told(
    state: State | None, version: str, champion: str, url: str, users: tuple[HeldOutUser, ...]
) -> Release:
    """Say what came of it."""
    if state is None:
        reason = f"{version} is champion already; its features are up to now"
        return Release(Outcome.UNCHANGED, reason, champion, url, None, users)
    promoted = state.phase is Phase.PROMOTED
    outcome = Outcome.PROMOTED if promoted else Outcome.ROLLED_BACK
    serving = version if promoted else champion
    return Release(outcome, state.reason, serving, url, state, users)


def _as_of(config: Config, lane: Lane, users: tuple[HeldOutUser, ...]) -> set[int]:
    """Return the moments (UTC ms) as of which a lane's features are; none if there aren't any."""
    from feature_repo.online import OnlineFeatures

    try:
        with OnlineFeatures(config.paths, project_name(config, lane)) as features:
            found = features.user_histories(user.user_id for user in users)
    except FeatureError:
        return set()
    return {history.as_of_ms for history in found if history is not None}


def _is_stale(config: Config) -> bool:
    return is_stale(config.paths, project_name(config, "live"), config.features.freshness)


def _publish(
    config: Config, tables: Tables, as_of_ms: int | None, lane: Lane, data_version: str
) -> None:
    from feature_repo.sound_publication import publish_sound

    publish_sound(config, tables, as_of_ms, lane, data_version)


def _once(action: Callable[[], None]) -> Callable[[], None]:
    """Return an action that does its work at the first call only; nothing changes in between."""
    done: list[bool] = []

    def act() -> None:
        if not done:
            action()
            done.append(True)

    return act
