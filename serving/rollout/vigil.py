"""The beat of a rollout: between any two pieces of work, everything that can go wrong is looked at.

At every beat: has a person said something, are both arms there, how much memory do they hold, and
how long has the step been watched? Watched time is kept in the state, so that a soak that was cut
off goes on with what remains; it is written at least every few seconds.
"""

from __future__ import annotations

from dataclasses import replace

from recommender.config.rollout import RolloutConfig
from serving.rollout import memory
from serving.rollout.clock import Clock
from serving.rollout.guardrails import Finding
from serving.rollout.intent import Intent, heard
from serving.rollout.records import Arm
from serving.rollout.state import Rollouts, State
from serving.rollout.target import Metered, Target

BEAT_S = 0.25
_WRITE_S = 5.0
_MEASURE_S = 0.5
_MIB = 1024.0 * 1024.0


class Vigil:
    """Watches one phase of a rollout.

    Args:
        state: when the watch begins.
        target: whose arms are watched.
        rollouts: where the state is kept.
        config: limits.
        clock: of the rollout.

    Attributes:
        state: with the time watched and the memory measured so far.
    """

    def __init__(
        self, state: State, target: Target, rollouts: Rollouts, config: RolloutConfig, clock: Clock
    ) -> None:
        self.state = state
        self._target, self._rollouts, self._config, self._clock = target, rollouts, config, clock
        self._beaten = self._written = clock.now()
        self._measured = float("-inf")

    def beat(self) -> None:
        """Look at everything; count the time since the last beat as watched.

        Raises:
            CandidateError: the candidate's arm is no longer there.
            ServingError: the stable arm is no longer there.
            StorageError: the state can't be written.
        """
        now = self._clock.now()
        self.state = replace(self.state, soaked_s=self.state.soaked_s + now - self._beaten)
        self._beaten = now
        self._target.check()
        if now - self._measured >= _MEASURE_S and isinstance(self._target, Metered):
            self._measured = now
            self._measure()
        if now - self._written >= _WRITE_S:
            self.save()

    def rest(self) -> None:
        """Wait until the next beat."""
        self._clock.sleep(BEAT_S)

    def save(self) -> None:
        """Write the state."""
        self._written = self._clock.now()
        self._rollouts.save(self.state)

    @property
    def told(self) -> Intent | None:
        """What a person has said about this rollout, or None."""
        return heard(self._rollouts.of(self.state))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the memory says."""
        return memory.judge(self.state.memory, self._config.memory)

    def _measure(self) -> None:
        held = self._target.memory() if isinstance(self._target, Metered) else {}
        if {*held} != {*Arm}:
            return
        stable, candidate = (round(held[arm] / _MIB, 2) for arm in (Arm.STABLE, Arm.CANDIDATE))
        sample = (round(self._clock.wall_ms() / 1000, 2), stable, candidate)
        self.state = replace(self.state, memory=memory.thinned((*self.state.memory, sample)))
