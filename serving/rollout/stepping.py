"""One step of a rollout (or its shadow): the candidate has its share and is watched to a verdict.

A step ends with a proof of harm at once; with a pass only after its soak; with a hold where there
are no more users or its time is over; and with a person's word within a second.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from recommender.config.rollout import RolloutConfig
from recommender.progress import Progress
from serving.rollout.analysis import Analysis, analyse
from serving.rollout.clock import Clock
from serving.rollout.guardrails import Verdict
from serving.rollout.intent import Intent
from serving.rollout.live_analysis import analyse_live
from serving.rollout.live_evidence import LiveEvidence
from serving.rollout.records import Record
from serving.rollout.shadow_analysis import analyse_shadow
from serving.rollout.state import Rollouts, State
from serving.rollout.target import Arrivals, CandidateError, Shadowing, Target, Traffic
from serving.rollout.vigil import Vigil

_MORE = 1.1
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """How a step has ended.

    Attributes:
        state: with the step's last analysis.
        verdict: of that, or why there is none: HOLD means that nothing more was to come.
        reason: for people.
        intent: a person's word, which goes before the verdict.
    """

    state: State
    verdict: Verdict
    reason: str
    intent: Intent | None = None


class Stepper:
    """Takes single steps.

    Args:
        target: where both arms are served.
        rollouts: where states and records are kept.
        config: guardrails, soaks and limits.
        clock: to wait by.
    """

    def __init__(
        self, target: Target, rollouts: Rollouts, config: RolloutConfig, clock: Clock
    ) -> None:
        self._target, self._rollouts = target, rollouts
        self._config, self._clock = config, clock

    def step(self, state: State, traffic: Traffic | Arrivals) -> Ended:
        """Give the candidate its share and watch it; both arms are being served.

        Raises:
            UserError: something other than the candidate is in the way.
        """
        self._target.set_weight(state.plan.steps[state.step].percent)
        if not state.began_ms:
            state = replace(state, began_ms=self._clock.wall_ms())
            self._rollouts.save(state)
        if isinstance(traffic, Arrivals):
            return self._live(state, traffic)
        return self._replay(state, traffic)

    def shadow(self, state: State, target: Shadowing) -> Ended:
        """Let the candidate answer a copy of the live traffic until there is a verdict."""
        config = self._config.shadow
        journal = self._rollouts.comparisons(state)
        compared = journal.read()
        vigil = self._vigil(state)
        target.shadow(state.candidate, config.percent)
        try:
            judged = -1
            while True:
                broken, new = "", target.compared()
                if new:
                    journal.append(new)
                    compared += new
                try:
                    vigil.beat()
                except CandidateError as error:
                    broken = str(error)
                over = vigil.state.soaked_s >= config.maximum_wait_s
                # Each look goes through everything: one per so many more keeps them few.
                due = len(compared) > _MORE * judged
                if broken or over or due or vigil.told:
                    judged = len(compared)
                    analysis = _broken(analyse_shadow(compared, self._config), broken)
                    vigil.state = replace(vigil.state, shadow=analysis.to_dict())
                    passed = analysis.verdict is not Verdict.HOLD
                    if vigil.told or passed or over:
                        return self._ended(vigil, analysis)
                vigil.rest()
        finally:
            target.shadow(state.candidate, 0)

    def _replay(self, state: State, traffic: Traffic) -> Ended:
        """Send held-out users until there is a verdict, then soak."""
        step = state.plan.steps[state.step]
        journal = self._rollouts.journal(state)
        records = journal.read()
        vigil = self._vigil(state)
        while True:
            here = sum(record.step == state.step for record in records)
            left = traffic.users - len(records) - state.plan.least_after(state.step)
            # The users planned for the step first; then, while it holds, a portion more.
            wanted = min(step.users - here if here < step.users else step.least, left)
            broken = self._soak_or_watch(vigil, traffic, records, wanted)
            analysis = analyse(records, state.plan, state.step, self._config, extra=vigil.findings)
            analysis = _broken(analysis, broken)
            vigil.state = vigil.state.judged(analysis)
            if vigil.told or analysis.verdict is Verdict.ROLL_BACK:
                return self._ended(vigil, analysis)
            soaked = vigil.state.soaked_s >= self._config.soak_of(state.step)
            if soaked and (analysis.verdict is Verdict.PROMOTE or wanted >= left):
                return self._ended(vigil, analysis)
            if analysis.verdict is Verdict.HOLD:
                logger.info("%d %%: hold: %s", step.percent, analysis.reason)
            vigil.save()

    def _soak_or_watch(
        self, vigil: Vigil, traffic: Traffic, records: list[Record], wanted: int
    ) -> str:
        """Watch more users if the last verdict was no pass; else let time go by.

        Returns:
            why the candidate's arm is no longer there, "" if it is.
        """
        judged = vigil.state.analyses[vigil.state.step :]
        passed = bool(judged) and judged[-1]["verdict"] == Verdict.PROMOTE.value
        here = sum(record.step == vigil.state.step for record in records)
        try:
            if wanted > 0 and not (
                passed and here >= vigil.state.plan.steps[vigil.state.step].users
            ):
                self._watch(vigil, traffic, records, wanted)
            else:
                self._soak(vigil)
        except CandidateError as error:
            return str(error)
        return ""

    def _soak(self, vigil: Vigil) -> None:
        """Wait for the rest of the step's soak, for a person's word, or for a leak."""
        soak = self._config.soak_of(vigil.state.step)
        vigil.beat()
        while vigil.state.soaked_s < soak and not vigil.told:
            if any(finding.verdict is Verdict.ROLL_BACK for finding in vigil.findings):
                return
            vigil.rest()
            vigil.beat()

    def _watch(self, vigil: Vigil, traffic: Traffic, records: list[Record], users: int) -> None:
        """Send the requests of so many more users; put down what comes back, and add it."""
        state = vigil.state
        journal = self._rollouts.journal(state)
        seen = {record.user for record in records}
        progress = Progress(f"canary {state.plan.steps[state.step].percent} %", users)
        stop: Callable[[], bool] = lambda: vigil.told is not None  # noqa: E731
        for portion in traffic.observe(state.step, seen, users, stop):
            journal.append(portion)
            records += portion
            progress.advance(len(portion))
            vigil.beat()
            if stop():
                return

    def _live(self, state: State, traffic: Arrivals) -> Ended:
        """Watch what people ask by themselves until there is a verdict and the soak is over."""
        config = self._config
        journal = self._rollouts.journal(state)
        known = journal.read()
        seen = LiveEvidence(known)
        vigil = self._vigil(state)
        traffic.begin(state.step, state.began_ms, known)
        latest = config.soak_of(state.step) + config.live.maximum_wait_s
        looked = self._clock.now()
        while True:
            broken, new = "", traffic.arrived()
            if new:
                journal.append(new)
                seen.add(new)
            try:
                vigil.beat()
            except CandidateError as error:
                broken = str(error)
            over = vigil.state.soaked_s >= latest
            due = self._clock.now() - looked >= config.live.look_every_s
            if broken or over or due or vigil.told:
                looked = self._clock.now()
                analysis = analyse_live(seen, state.plan, state.step, config, extra=vigil.findings)
                analysis = _broken(analysis, broken)
                vigil.state = vigil.state.judged(analysis)
                soaked = vigil.state.soaked_s >= config.soak_of(state.step)
                passed = analysis.verdict is Verdict.PROMOTE and soaked
                if vigil.told or passed or over or analysis.verdict is Verdict.ROLL_BACK:
                    return self._ended(vigil, analysis)
                vigil.save()
            vigil.rest()

    def _vigil(self, state: State) -> Vigil:
        return Vigil(state, self._target, self._rollouts, self._config, self._clock)

    def _ended(self, vigil: Vigil, analysis: Analysis) -> Ended:
        return Ended(vigil.state, analysis.verdict, analysis.reason, vigil.told)


def _broken(analysis: Analysis, why: str) -> Analysis:
    """Return the analysis; a candidate that is gone is rolled back, whatever it has shown."""
    return replace(analysis, verdict=Verdict.ROLL_BACK, reason=why) if why else analysis
