"""From one phase of a rollout to the next: always written down before the phase begins."""

from __future__ import annotations

import logging
from dataclasses import replace

from recommender.config.rollout import RolloutConfig
from serving.rollout import intent as intents
from serving.rollout.intent import Action, Intent
from serving.rollout.state import Phase, Rollouts, State

logger = logging.getLogger(__name__)


class Transitions:
    """Moves rollouts on.

    Args:
        rollouts: where states are kept.
        config: steps.
    """

    def __init__(self, rollouts: Rollouts, config: RolloutConfig) -> None:
        self._rollouts = rollouts
        self._config = config

    def to(self, state: State, phase: Phase, note: str, step: int | None = None) -> State:
        """Write the transition, then return the state after it."""
        state = state.moved(phase, note)
        if step is not None:
            state = replace(state, step=step, soaked_s=0.0, began_ms=0)
        if phase in (Phase.PROMOTING, Phase.ROLLING_BACK):
            state = replace(state, reason=note)
        self._rollouts.save(state)
        logger.info("rollout %s: %s: %s", state.id, phase, note)
        return state

    def to_step(self, state: State, step: int) -> State:
        """Begin a step."""
        soak = self._config.soak_of(step)
        note = f"{state.plan.steps[step].percent} %" + (f", soak {soak:g} s" if soak else "")
        return self.to(state, Phase.STEPPING, note, step=step)

    def lose(self, state: State, reason: str) -> State:
        """Begin to roll back, because of what the candidate is."""
        return self.to(replace(state, lost=True), Phase.ROLLING_BACK, reason)

    def heed(self, state: State, intent: Intent) -> State:
        """Do what a person has said; the word is used up."""
        intents.forget(self._rollouts.of(state))
        if intent.action is Action.ABORT:
            return self.lose(state, f"aborted by hand: {intent.reason}")
        harm = intents.against(state.judgements)
        if harm and not intent.force:
            note = f"promotion by hand refused ({intent.reason}): {harm}"
            return self.to(state, state.phase, note)
        told = f"promoted by hand: {intent.reason}"
        if harm:
            told += f" (forced, against: {harm})"
        return self.to(state, Phase.PROMOTING, told)
