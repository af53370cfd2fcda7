"""Soaks, a person's word, leaks and live traffic: the engine in a time that a test can turn."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from rollout_world import (
    CANDIDATE,
    STABLE,
    FragileRollouts,
    Killed,
    MemoryChampions,
    MemoryTarget,
    MemoryTraffic,
    Stage,
    World,
)

from recommender.config.rollout import RolloutConfig
from recommender.config.rollout_traffic import LiveConfig, MemoryConfig, ShadowConfig
from recommender.errors import RolloutError
from serving.rollout import intent
from serving.rollout.clock import Clock
from serving.rollout.engine import Engine
from serving.rollout.intent import Action
from serving.rollout.records import Arm, Record, Tells
from serving.rollout.shadow import Comparison
from serving.rollout.state import Phase, Rollouts
from serving.rollout.transitions import Transitions

GOOD = {"hit_rates": (0.2, 0.6)}
SMALL = {"steps": (25, 100), "minimum_users_per_arm": 5}


@dataclass
class Turned:
    """A clock that a test turns: sleeping takes no time, and may be where things happen."""

    seconds: float = 0.0
    at: dict[float, object] = field(default_factory=dict)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        for moment in [m for m in self.at if m <= self.seconds]:
            self.at.pop(moment)()

    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self.sleep, lambda: int(1000 * self.seconds) + 1)


class MeteredTarget(MemoryTarget):
    """The candidate's memory grows by so many MiB a second."""

    def __init__(self, world, turned, leak):
        super().__init__(world)
        self.turned, self.leak = turned, leak

    def memory(self):
        mib = 1024 * 1024
        return {
            Arm.STABLE: 300 * mib,
            Arm.CANDIDATE: int((310 + self.leak * self.turned.seconds) * mib),
        }


class ShadowTarget(MemoryTarget):
    """Every call brings twenty compared requests, of which so many fail."""

    def __init__(self, world, failing=0.0, overlap=0.6, slower=1.0):
        super().__init__(world)
        self.failing, self.overlap, self.slower = failing, overlap, slower
        self.copied: list[float] = []
        self.count = 0

    def shadow(self, version, percent):
        assert version == CANDIDATE
        self.copied.append(percent)

    def compared(self):
        rng = np.random.default_rng(self.count)
        found = []
        for _ in range(20):
            self.count += 1
            ms = float(60 * rng.lognormal(0, 0.3))
            error = "HTTP 500: it broke" if rng.random() < self.failing else ""
            found.append(
                Comparison(
                    user=f"u{self.count % 150}",
                    request=str(self.count),
                    time=self.count,
                    stable_ms=ms,
                    candidate_ms=self.slower * ms,
                    overlap=None if error else float(np.clip(rng.normal(self.overlap, 0.1), 0, 1)),
                    rank_correlation=None if error else 0.8,
                    error=error,
                )
            )
        return found


@dataclass
class People:
    """Live traffic: at every call, some users ask again; the arm follows the share."""

    world: World
    users: int = 900
    a_call: int = 60
    hit_rates: tuple[float, float] = (0.3, 0.3)
    errors: tuple[float, float] = (0.0, 0.0)
    latencies: tuple[float, float] = (60.0, 60.0)
    broken_split: bool = False
    fingerprint: str = "people"
    begun: list[int] = field(default_factory=list)
    calls: int = 0

    def __post_init__(self):
        self.draws = np.random.default_rng(0).random(self.users)

    def begin(self, step, began_ms, known):
        self.step = step
        self.begun.append(step)

    def arrived(self):
        self.calls += 1
        rng = np.random.default_rng(self.calls)
        found = []
        for n, user in enumerate(rng.integers(0, self.users, self.a_call).tolist()):
            share = self.world.percent / 100
            ours = bool(self.draws[user] < (min(2 * share, 1) if self.broken_split else share))
            failed = rng.random() < self.errors[ours]
            common = {
                "user": f"u{user}",
                "step": self.step,
                "arm": Arm.CANDIDATE if ours else Arm.STABLE,
                "version": CANDIDATE if ours else STABLE,
                "status": 500 if failed else 200,
                "latency_ms": float(self.latencies[ours] * rng.lognormal(0, 0.3)),
                "request": f"{self.calls}-{n}",
                "time": self.calls,
            }
            error = "HTTP 500: it broke" if failed else ""
            found.append(Record(**common, hit=None, error=error, tells=Tells.ANSWER))
            if not failed:
                hit = bool(rng.random() < self.hit_rates[ours])
                found.append(Record(**common, hit=hit, tells=Tells.OUTCOME))
        return found


@pytest.fixture
def turned():
    return Turned()


@pytest.fixture
def stage(tmp_path):
    return Stage(World(), tmp_path / "rollouts")


def roll(stage, turned, traffic=None, target=None, **config):
    engine = Engine(
        target or MemoryTarget(stage.world),
        MemoryChampions(stage.world),
        FragileRollouts(stage.folder, stage.world),
        RolloutConfig(**config),
        lambda: None,
        clock=turned.clock(),
    )
    if stage.states and not stage.states[-1].phase.final:
        engine.settle()
    return engine.run(CANDIDATE, STABLE, traffic or MemoryTraffic(stage.world, 120, **GOOD))


def say_at(stage, turned, moment, action, **more):
    def act():
        intent.say(Rollouts(stage.folder).of(stage.states[-1]), action, "so said Ann", **more)

    turned.at[moment] = act


def test_a_step_that_has_passed_soaks_before_the_next(stage, turned):
    state = roll(stage, turned, soak_s=(120.0, 60.0), **SMALL)
    assert state.phase is Phase.PROMOTED
    assert 180 <= turned.seconds <= 182
    assert "25 %, soak 120 s" in [moment.note for moment in state.timeline]


def test_killed_in_a_soak_it_goes_on_with_what_remains(stage, turned):
    def die():
        raise Killed

    turned.at[400.0] = die
    with pytest.raises(Killed):
        roll(stage, turned, soak_s=(600.0, 0.0), **SMALL)
    turned.seconds += 10_000  # nobody watched meanwhile, so this doesn't count
    before = turned.seconds
    state = roll(stage, turned, soak_s=(600.0, 0.0), **SMALL)
    assert state.phase is Phase.PROMOTED
    assert 199 <= turned.seconds - before <= 206, "the rest, and what was not yet on disk"
    assert len(stage.states) == 1


def test_no_soak_waits_for_nothing(stage, turned):
    roll(stage, turned, **SMALL)
    assert turned.seconds == 0


def test_a_bad_candidate_is_not_soaked(stage, turned):
    bad = MemoryTraffic(stage.world, 120, hit_rates=(0.9, 0.0))
    state = roll(stage, turned, bad, soak_s=(600.0,), **SMALL)
    assert state.lost
    assert turned.seconds < 1


def test_a_word_from_outside_ends_a_soak_within_a_second(stage, turned):
    say_at(stage, turned, 100.0, Action.ABORT)
    state = roll(stage, turned, soak_s=(600.0,), **SMALL)
    assert state.phase is Phase.ROLLED_BACK
    assert state.reason == "aborted by hand: so said Ann"
    assert turned.seconds <= 101
    assert stage.world.candidate_alias is None, "a person's no is a no"
    assert not (Rollouts(stage.folder).of(state) / intent.FILE).exists()


def test_a_person_may_promote_before_the_steps_are_over(stage, turned):
    say_at(stage, turned, 100.0, Action.PROMOTE)
    state = roll(stage, turned, soak_s=(600.0,), **SMALL)
    assert state.phase is Phase.PROMOTED
    assert state.reason == "promoted by hand: so said Ann"
    assert turned.seconds <= 101
    assert stage.world.champion == stage.world.live == CANDIDATE


def test_an_abort_is_heeded_by_whoever_comes_next(stage, turned):
    def die():
        intent.say(Rollouts(stage.folder).of(stage.states[-1]), Action.ABORT, "so said Ann")
        raise Killed

    turned.at[50.0] = die
    with pytest.raises(Killed):
        roll(stage, turned, soak_s=(600.0,), **SMALL)
    stage.engine().obey()
    assert stage.states[-1].reason == "aborted by hand: so said Ann"
    assert stage.world.live == STABLE


def test_a_promotion_of_a_rollout_that_nobody_drives_is_carried_out(stage, turned):
    def die():
        intent.say(Rollouts(stage.folder).of(stage.states[-1]), Action.PROMOTE, "so said Ann")
        raise Killed

    turned.at[50.0] = die
    with pytest.raises(Killed):
        roll(stage, turned, soak_s=(600.0,), **SMALL)
    assert stage.engine().obey().phase is Phase.PROMOTED
    assert stage.world.live == stage.world.champion == CANDIDATE


def test_a_promotion_by_hand_does_not_pass_proof_of_harm_unless_it_is_forced(stage):
    bad = MemoryTraffic(stage.world, 120, hit_rates=(0.9, 0.0))
    state = stage.engine().run(CANDIDATE, STABLE, bad)
    (told,) = state.judgements
    assert "worse" in intent.against((told,))
    going = replace(state, phase=Phase.STEPPING, lost=False)
    for force, phase in ((False, Phase.STEPPING), (True, Phase.PROMOTING)):
        said = intent.Intent(Action.PROMOTE, "so said Ann", force)
        after = Transitions(Rollouts(stage.folder), stage.config).heed(going, said)
        assert after.phase is phase
        assert "worse" in after.timeline[-1].note


def test_a_word_needs_a_reason(tmp_path):
    with pytest.raises(RolloutError, match="takes a reason"):
        intent.say(tmp_path, Action.ABORT, "  ")


def test_a_driver_in_real_time_hears_within_a_second(stage):
    world = stage.world
    said: list[float] = []

    def abort():
        while not (stage.states and stage.states[-1].phase is Phase.STEPPING):
            time.sleep(0.02)
        said.append(time.monotonic())
        intent.say(Rollouts(stage.folder).of(stage.states[-1]), Action.ABORT, "so said Ann")

    thread = threading.Thread(target=abort)
    thread.start()
    config = RolloutConfig(soak_s=(60.0,), **SMALL)
    stage.config = config
    state = stage.engine().run(CANDIDATE, STABLE, MemoryTraffic(world, 120, **GOOD))
    thread.join()
    assert time.monotonic() - said[0] < 1
    assert "aborted by hand" in state.reason


def test_a_candidate_that_leaks_is_rolled_back_in_its_soak(stage, turned):
    target = MeteredTarget(stage.world, turned, leak=2.0)
    limit = MemoryConfig(growth_mib=100)
    state = roll(stage, turned, target=target, soak_s=(600.0,), memory=limit, **SMALL)
    assert state.phase is Phase.ROLLED_BACK
    assert "it leaks" in state.reason
    assert turned.seconds < 120
    assert len(state.memory) > 12


def test_a_candidate_that_holds_its_memory_passes(stage, turned):
    target = MeteredTarget(stage.world, turned, leak=0.01)
    limit = MemoryConfig(growth_mib=100)
    state = roll(stage, turned, target=target, soak_s=(60.0,), memory=limit, **SMALL)
    assert state.phase is Phase.PROMOTED
    assert "memory" in [finding["guardrail"] for finding in state.analyses[0]["findings"]]
    assert len(state.memory) <= 241


LIVE = {"live": LiveConfig(users_per_arm=60, maximum_wait_s=600.0), "steps": (25, 50, 100)}


def test_live_traffic_takes_a_good_candidate_through_all_steps(stage, turned):
    people = People(stage.world, hit_rates=(0.3, 0.35))
    state = roll(stage, turned, people, **LIVE)
    assert state.phase is Phase.PROMOTED, state.reason
    assert people.begun == [0, 1, 2]
    assert state.traffic == "live"
    told = state.analyses[1]["arms"]
    assert told["candidate"]["requests"] > told["candidate"]["users"] >= 60
    assert "shown to keep 50%" in state.analyses[1]["findings"][4]["reason"]


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"hit_rates": (0.5, 0.1)}, "worse"),
        ({"errors": (0.001, 0.3)}, "requests of the candidate failed"),
        ({"latencies": (60.0, 400.0)}, "p95"),
        ({"broken_split": True}, "sample-ratio mismatch"),
    ],
)
def test_live_traffic_rolls_a_worse_candidate_back(stage, turned, behaviour, words):
    state = roll(stage, turned, People(stage.world, **behaviour), **LIVE)
    assert state.phase is Phase.ROLLED_BACK
    assert state.lost
    assert words in state.reason
    assert turned.seconds < 300


def test_a_broken_candidate_is_caught_before_the_minimum_of_users(stage, turned):
    config = {**LIVE, "live": LiveConfig(users_per_arm=5000, maximum_wait_s=600.0)}
    state = roll(stage, turned, People(stage.world, errors=(0.0, 1.0)), **config)
    assert "requests of the candidate failed" in state.reason
    assert turned.seconds < 60


def test_where_nobody_comes_the_step_holds_and_the_champion_stays(stage, turned):
    state = roll(stage, turned, People(stage.world, a_call=0), **LIVE)
    assert state.phase is Phase.ROLLED_BACK
    assert "its time is over" in state.reason
    assert 600 <= turned.seconds <= 606


def test_live_traffic_killed_in_a_step_goes_on_with_what_was_seen(stage, turned):
    def die():
        raise Killed

    turned.at[20.0] = die
    people = People(stage.world, hit_rates=(0.3, 0.35))
    config = {**LIVE, "soak_s": (30.0, 0.0)}
    with pytest.raises(Killed):
        roll(stage, turned, people, **config)
    seen = len(Rollouts(stage.folder).journal(stage.states[-1]).read())
    began = stage.states[-1].began_ms
    state = roll(stage, turned, people, **config)
    assert state.phase is Phase.PROMOTED
    assert len(stage.states) == 1
    assert began > 0
    records = Rollouts(stage.folder).journal(state).read()
    assert len(records) > seen > 0
    assert len({(r.request, r.tells) for r in records}) == len(records)


SHADOW = ShadowConfig(enabled=True, requests=200, users=20, maximum_wait_s=300.0)


def test_a_good_shadow_goes_over_into_the_steps(stage, turned):
    target = ShadowTarget(stage.world)
    state = roll(stage, turned, target=target, shadow=SHADOW, **SMALL)
    assert state.phase is Phase.PROMOTED
    assert target.copied == [100.0, 0]
    assert Phase.SHADOWING in [moment.phase for moment in state.timeline]
    overlap = next(f for f in state.shadow["findings"] if f["guardrail"] == "overlap")
    assert overlap["numbers"]["mean"] == pytest.approx(0.6, abs=0.05)
    assert len(Rollouts(stage.folder).comparisons(state).read()) >= 200


@pytest.mark.parametrize(
    ("behaviour", "limits", "words"),
    [
        ({"failing": 0.4}, {}, "answers of the candidate failed"),
        ({"slower": 8.0}, {}, "p95"),
        ({"overlap": 0.1}, {"minimum_overlap": 0.5}, "share of the champion's items"),
    ],
)
def test_a_bad_shadow_never_meets_a_user(stage, turned, behaviour, limits, words):
    target = ShadowTarget(stage.world, **behaviour)
    shadow = SHADOW.model_copy(update=limits)
    state = roll(stage, turned, target=target, shadow=shadow, **SMALL)
    assert state.phase is Phase.ROLLED_BACK
    assert words in state.reason
    assert target.copied[-1] == 0
    assert stage.world.percent == 0
    assert not Rollouts(stage.folder).journal(state).read()


def test_a_shadow_that_meets_nobody_is_no_pass(stage, turned):
    shadow = SHADOW.model_copy(update={"requests": 10**6, "maximum_wait_s": 10.0})
    state = roll(stage, turned, target=ShadowTarget(stage.world), shadow=shadow, **SMALL)
    assert state.phase is Phase.ROLLED_BACK
    assert "could not be judged in time" in state.reason


def test_a_target_that_cannot_shadow_says_so_and_nothing_has_happened(stage, turned):
    with pytest.raises(RolloutError, match="can't copy traffic"):
        roll(stage, turned, shadow=SHADOW, **SMALL)
    assert stage.world.live == stage.world.champion == STABLE
    assert not stage.states[-1].lost
