"""Drives a rollout from phase to phase; killed at any point and started again, it ends well.

    starting → (shadowing) → stepping (5 → 25 → 50 → 100 %) → promoting → committing → promoted
        └───────────┴──────────┴──────────────┴───────────────┴──→ rolling_back → rolled_back

The state is written before a phase begins, and every phase can be entered again. Until
`committing`, nothing that people are served from is touched: a rollout that was cut off goes on,
or is taken away without a trace. **The commit point is the registry's champion alias**, which
moves atomically. Before it, everything can be given up. After it, what is served is made to
follow; if that turns out to be impossible, the alias is moved back. So whatever happens, champion
and live traffic come out of a restart as the same version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress

from recommender.config.rollout import RolloutConfig
from recommender.errors import RolloutError, UserError
from serving.rollout import intent as intents
from serving.rollout import plan as planning
from serving.rollout.clock import Clock
from serving.rollout.guardrails import Verdict
from serving.rollout.intent import Action
from serving.rollout.state import Phase, Rollouts, State
from serving.rollout.stepping import Stepper
from serving.rollout.target import (
    Arrivals,
    CandidateError,
    Champions,
    Chronicling,
    Shadowing,
    Target,
    Traffic,
)
from serving.rollout.transitions import Transitions


class Engine:
    """Rolls a candidate out, against the champion.

    Args:
        target: where both are served.
        champions: the registry.
        rollouts: where states are kept.
        config: steps and guardrails.
        publish: brings the live features up to now; called once the candidate has won and
            before a server of it reads them.
        run_id: of the pipeline run, for the registry's history.
        clock: to wait by.
    """

    def __init__(
        self,
        target: Target,
        champions: Champions,
        rollouts: Rollouts,
        config: RolloutConfig,
        publish: Callable[[], None],
        run_id: str = "",
        clock: Clock | None = None,
    ) -> None:
        self._stepper = Stepper(target, rollouts, config, clock or Clock())
        self._moves = Transitions(rollouts, config)
        self._target = target
        self._champions = champions
        self._rollouts = rollouts
        self._config = config
        self._publish = publish
        self._run_id = run_id

    def settle(self) -> State | None:
        """Finish what was cut off while it was being switched or taken away.

        To be called before anything else looks at the champion or at what is served: after it,
        they agree.

        Returns:
            the latest rollout that was brought to its end, or None.
        """
        settled = None
        for state in self._rollouts.unfinished():
            intent = intents.heard(self._rollouts.of(state))
            if state.phase in (Phase.COMMITTING, Phase.ROLLING_BACK):
                settled = self._drive(state, None)
            elif intent and intent.action is Action.ABORT:
                settled = self._drive(self._moves.heed(state, intent), None)
        return settled

    def obey(self) -> State | None:
        """Do what a person has said about rollouts that nobody drives at this moment.

        Returns:
            the latest rollout that was brought to its end by that, or None.
        """
        settled = self.settle()
        for state in self._rollouts.unfinished():
            if intent := intents.heard(self._rollouts.of(state)):
                after = self._moves.heed(state, intent)
                if after.phase is Phase.PROMOTING:
                    settled = self._drive(after, None)
        return settled

    def serve(self, champion: str) -> None:
        """Make sure that everybody gets the champion, after a reboot say.

        Raises:
            UserError: it can't be served; what is served stays as it is.
        """
        if self._target.live() != champion:
            self._target.prepare(champion)
            self._target.promote(champion)

    def run(self, candidate: str, stable: str, traffic: Traffic | Arrivals) -> State:
        """Roll a candidate out, or go on with its rollout where it was cut off.

        Rollouts of other candidates that were cut off are rolled back first.

        Args:
            candidate: a version in the registry.
            stable: the champion, which is being served.
            traffic: users to judge by.

        Returns:
            the final state: promoted or rolled back.

        Raises:
            UserError: something other than the candidate is in the way (a full disk, a port, the
                registry); champion and live traffic are as they were.
        """
        fingerprint = self._fingerprint(traffic)
        state = None
        for old in self._rollouts.unfinished():
            same = (old.candidate, old.stable, old.fingerprint) == (candidate, stable, fingerprint)
            if same and state is None:
                state = old
            else:
                self._drive(self._moves.to(old, Phase.ROLLING_BACK, "superseded"), None)
        if state is None:
            live = isinstance(traffic, Arrivals)
            users = 0 if isinstance(traffic, Arrivals) else traffic.users
            plan = planning.live_plan(self._config) if live else planning.plan(users, self._config)
            kind = "live" if live else "replay"
            state = self._rollouts.begin(candidate, stable, fingerprint, plan, kind)
        return self._drive(state, traffic)

    def _drive(self, state: State, traffic: Traffic | Arrivals | None) -> State:
        """Take the state to its end; on the way out of an error leave nothing running."""
        try:
            while not state.phase.final:
                state = self._next(state, traffic)
        except UserError as error:
            self._give_up(state, error)
            raise
        except KeyboardInterrupt:
            if state.phase is Phase.COMMITTING:
                self._drive(state, traffic)  # a moment's work, and no place to stop at
            else:
                self._target.rollback()
            raise
        return state

    def _next(self, state: State, traffic: Traffic | Arrivals | None) -> State:
        """Do one phase's work (in `stepping`: one step's) and return the state after it."""
        self._note(state)
        early = state.phase in (Phase.STARTING, Phase.PROMOTING)
        word = intents.heard(self._rollouts.of(state)) if early else None
        if word and word.action is Action.ABORT:
            return self._moves.heed(state, word)
        try:
            match state.phase:
                case Phase.STARTING:
                    return self._start(state)
                case Phase.SHADOWING if traffic is not None:
                    return self._shadow(state)
                case Phase.STEPPING if traffic is not None:
                    return self._step(state, traffic)
                case Phase.PROMOTING:
                    return self._prepare(state)
                case Phase.COMMITTING:
                    return self._commit(state)
                case _:
                    return self._roll_back(state)
        except CandidateError as error:
            if state.phase is Phase.ROLLING_BACK:
                # It is the stable version that can't be served; to go back again won't help.
                told = f"there is no way back to {state.stable}: {error.message}"
                raise RolloutError(told, error.hint) from error
            return self._moves.lose(state, str(error))

    def _start(self, state: State) -> State:
        plan = state.plan
        if plan.steps and self._config.shadow.enabled:
            note = f"a copy of {self._config.shadow.percent:g} % of the live users"
            return self._moves.to(state, Phase.SHADOWING, note)
        if plan.steps:
            self._serve_both(state)
            return self._moves.to_step(state, 0)
        return self._moves.lose(
            state,
            f"{plan.users} held-out users are too few for a canary: with "
            f"{self._config.minimum_users_per_arm} users per arm it takes "
            f"{planning.least_users(self._config)}",
        )

    def _serve_both(self, state: State) -> None:
        # The doubtful one first: if it is broken, the other one need not be started.
        self._target.start_candidate(state.candidate)
        self._target.start_stable(state.stable)

    def _shadow(self, state: State) -> State:
        """Let the candidate answer a copy first."""
        if not isinstance(self._target, Shadowing):
            raise RolloutError(
                f"the target {self._config.target} can't copy traffic to a candidate",
                "leave out --shadow (rollout.shadow.enabled)",
            )
        ended = self._stepper.shadow(state, self._target)
        state = ended.state
        if ended.intent:
            return self._moves.heed(state, ended.intent)
        if ended.verdict is Verdict.PROMOTE:
            return self._moves.to_step(state, 0)
        held = "" if ended.verdict is Verdict.ROLL_BACK else "could not be judged in time: "
        return self._moves.lose(state, f"in the shadow: {held}{ended.reason}")

    def _step(self, state: State, traffic: Traffic | Arrivals) -> State:
        """Take one step and turn its end into a transition."""
        self._serve_both(state)  # after a kill they may be gone
        ended = self._stepper.step(state, traffic)
        state = ended.state
        if ended.intent:
            return self._moves.heed(state, ended.intent)
        percent = state.plan.steps[state.step].percent
        if ended.verdict is Verdict.ROLL_BACK:
            return self._moves.lose(state, f"at {percent} %: {ended.reason}")
        if ended.verdict is Verdict.HOLD:
            what = "no users are left" if state.traffic == "replay" else "its time is over"
            return self._moves.lose(state, f"at {percent} %: held, and {what}: {ended.reason}")
        if state.step + 1 < len(state.plan.steps):
            return self._moves.to_step(state, state.step + 1)
        return self._moves.to(state, Phase.PROMOTING, f"at {percent} %: {ended.reason}")

    def _prepare(self, state: State) -> State:
        """Make everything ready that can fail, while all of it can still be given up."""
        self._publish()
        self._target.prepare(state.candidate)
        return self._moves.to(
            state, Phase.COMMITTING, "switching the champion and the live traffic"
        )

    def _commit(self, state: State) -> State:
        self._target.prepare(state.candidate)  # after a kill its server may be gone
        reason = f"rollout {state.id}"
        self._champions.promote(
            state.candidate, run_id=self._run_id, reason=reason, over=state.stable
        )
        self._target.promote(state.candidate)
        return self._moves.to(state, Phase.PROMOTED, "everybody gets it")

    def _roll_back(self, state: State) -> State:
        """Take the candidate away; if it was committed halfway, bring the champion back."""
        if self._champions.champion() == state.candidate != state.stable:
            self._champions.promote(
                state.stable, run_id=self._run_id, reason=f"rollout {state.id} went back"
            )
        if self._target.live() == state.candidate != state.stable:
            self._target.prepare(state.stable)
            self._target.promote(state.stable)
        self._target.rollback()
        if state.lost:
            self._champions.withdraw(state.candidate, run_id=self._run_id, reason=state.reason)
        return self._moves.to(state, Phase.ROLLED_BACK, "the champion has all of the traffic")

    def _give_up(self, state: State, error: UserError) -> None:
        """After an error that isn't the candidate's: back to how it was, as far as that works.

        What doesn't work now (the disk is full) is in the state on disk and is done by `settle`.
        """
        with suppress(UserError):
            if state.phase is not Phase.ROLLING_BACK:
                state = self._moves.to(state, Phase.ROLLING_BACK, f"broken off: {error.message}")
            self._note(state)
            while not state.phase.final:
                state = self._roll_back(state)
        with suppress(UserError):
            self._target.rollback()

    def _note(self, state: State) -> None:
        """Tell the target what it is about to be changed for, where it writes such things down."""
        if isinstance(self._target, Chronicling):
            self._target.note(state)

    def _fingerprint(self, traffic: Traffic | Arrivals) -> str:
        told = f"{self._config.model_dump_json()}\0{traffic.fingerprint}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]
