"""The rollout's state machine, killed and starved at every point."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_world import (
    CANDIDATE,
    STABLE,
    Killed,
    MemoryTraffic,
    Stage,
    World,
    disk_full,
    interrupt_at,
    kill_at,
)

from recommender.config.rollout import RolloutConfig
from recommender.errors import RolloutError, StorageError, UserError
from serving.rollout.state import Phase, Rollouts

GOOD = {"hit_rates": (0.2, 0.6)}
BAD = {"hit_rates": (0.5, 0.0)}
# Small rollouts where there are hundreds of them.
SMALL = RolloutConfig(steps=(25, 100), minimum_users_per_arm=5)
FEW = 120


@pytest.fixture
def stage(tmp_path):
    return Stage(World(), tmp_path / "rollouts")


def effects_of(tmp_path, behaviour):
    """Return how many effects an undisturbed rollout has."""
    stage = Stage(World(), tmp_path / "undisturbed", SMALL)
    stage.start(MemoryTraffic(stage.world, FEW, **behaviour))
    return stage.world.effects


def consistent(world):
    """Champion and live traffic are one; nothing else runs."""
    assert world.champion == world.live
    assert not world.arms
    assert not world.prepared


def test_a_better_candidate_takes_every_step_and_gets_everybody(stage):
    state = stage.start(MemoryTraffic(stage.world, **GOOD))
    assert state.phase is Phase.PROMOTED
    assert [told["percent"] for told in state.analyses] == [5, 25, 50, 100]
    assert [told["verdict"] for told in state.analyses] == ["promote"] * 4
    assert stage.world.champion == CANDIDATE
    consistent(stage.world)


def test_every_step_has_users_of_its_own_and_enough_of_them(stage):
    state = stage.start(MemoryTraffic(stage.world, **GOOD))
    records = Rollouts(stage.folder).journal(state).read()
    assert len({record.user for record in records}) == len(records) == 1200
    for told in state.analyses[:-1]:
        assert told["arms"]["stable"]["users"] >= 30
        assert told["arms"]["candidate"]["users"] >= 30
    assert state.analyses[-1]["arms"]["stable"]["users"] == 0


def test_features_are_published_only_once_the_candidate_has_won(stage):
    stage.start(MemoryTraffic(stage.world, **BAD))
    assert stage.world.published == 0
    stage.world.candidate_alias = CANDIDATE
    stage.start(MemoryTraffic(stage.world, fingerprint="others", **GOOD))
    assert stage.world.published == 1


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (BAD, "worse"),
        ({"errors": (0.0, 0.4)}, "requests of the candidate failed"),
        ({"latencies": (60.0, 400.0)}, "p95"),
        ({"misrouted": 1.0}, "sample-ratio mismatch"),
    ],
)
def test_a_worse_candidate_is_rolled_back_and_says_why(stage, behaviour, words):
    state = stage.start(MemoryTraffic(stage.world, **behaviour))
    assert state.phase is Phase.ROLLED_BACK
    assert state.lost
    assert words in state.reason
    assert stage.world.champion == STABLE
    assert stage.world.candidate_alias is None
    consistent(stage.world)


def test_a_candidate_that_never_becomes_ready_is_rolled_back_before_any_user_meets_it(stage):
    stage.world.broken = frozenset({CANDIDATE})
    state = stage.start()
    assert state.phase is Phase.ROLLED_BACK
    assert "is broken" in state.reason
    assert not Rollouts(stage.folder).journal(state).read()
    consistent(stage.world)


def test_a_candidate_that_dies_under_way_is_rolled_back_with_what_was_seen_of_it(stage):
    stage.world.dies_at = 25
    state = stage.start(MemoryTraffic(stage.world, **GOOD))
    assert state.phase is Phase.ROLLED_BACK
    assert "has ended" in state.reason
    assert state.analyses[1]["verdict"] == "roll_back"
    assert state.analyses[1]["arms"]["stable"]["users"] > 0
    consistent(stage.world)


def test_too_few_users_are_no_pass(stage):
    state = stage.start(MemoryTraffic(stage.world, users=60, **GOOD))
    assert state.phase is Phase.ROLLED_BACK
    assert "60 held-out users are too few" in state.reason
    assert stage.world.champion == STABLE


def test_an_equal_candidate_that_cannot_be_told_apart_stays_where_it_is(stage):
    config = RolloutConfig(hit_rate_kept=0.98)
    stage.config = config
    state = stage.start(MemoryTraffic(stage.world, hit_rates=(0.1, 0.1)))
    assert state.phase is Phase.ROLLED_BACK
    assert "no users are left" in state.reason
    assert "users per arm" in state.reason


def test_steps_that_cannot_gather_their_users_are_left_out(stage):
    state = stage.start(MemoryTraffic(stage.world, users=500, hit_rates=(0.2, 0.6)))
    assert state.plan.left_out == (5,)
    assert [told["percent"] for told in state.analyses] == [25, 50, 100]
    assert state.phase is Phase.PROMOTED


@pytest.mark.parametrize("reboot", [False, True], ids=["processes survive", "machine reboots"])
@pytest.mark.parametrize(("behaviour", "winner"), [(GOOD, CANDIDATE), (BAD, STABLE)])
def test_killed_at_any_point_and_started_again_it_ends_as_if_nothing_had_been(
    tmp_path, behaviour, winner, reboot
):
    total = effects_of(tmp_path, behaviour)
    assert total > 15
    for n in range(total):
        stage = Stage(World(misfortune=kill_at(n)), tmp_path / f"killed{n}", SMALL)
        with pytest.raises(Killed):
            stage.start(MemoryTraffic(stage.world, FEW, **behaviour))
        # Whoever was served stayed served, by one of the two and nobody else.
        assert stage.world.seen_live <= {STABLE, CANDIDATE}
        assert stage.world.champion == stage.world.live or stage.states[-1].phase in (
            Phase.COMMITTING,
            Phase.ROLLING_BACK,
        )
        stage.world.misfortune = None
        ended = bool(stage.states) and stage.states[-1].phase.final
        if reboot:
            stage.world.reboot()
        stage.start(MemoryTraffic(stage.world, FEW, **behaviour))
        assert stage.world.champion == winner, f"killed at effect {n}"
        consistent(stage.world)
        assert all(state.phase.final for state in stage.states)
        assert len(stage.states) == 1 + (ended and winner == STABLE), "it went on, not anew"


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_killed_again_and_again_it_still_ends_well(tmp_path_factory, data):
    behaviour = data.draw(st.sampled_from([GOOD, BAD]))
    stage = Stage(World(), tmp_path_factory.mktemp("often"), SMALL)
    for _ in range(data.draw(st.integers(1, 6))):
        n = stage.world.effects + data.draw(st.integers(0, 25))
        stage.world.misfortune = kill_at(n)
        try:
            stage.start(MemoryTraffic(stage.world, FEW, **behaviour))
        except Killed:
            if data.draw(st.booleans()):
                stage.world.reboot()
    stage.world.misfortune = None
    stage.start(MemoryTraffic(stage.world, FEW, **behaviour))
    assert stage.world.champion == (CANDIDATE if behaviour is GOOD else STABLE)
    consistent(stage.world)


def test_an_error_at_any_point_leaves_champion_and_traffic_as_they_were(tmp_path):
    for n in range(effects_of(tmp_path, GOOD)):
        stage = Stage(World(misfortune=disk_full(n, n + 1)), tmp_path / f"full{n}", SMALL)
        try:
            state = stage.start(MemoryTraffic(stage.world, FEW, **GOOD))
        except StorageError:
            assert stage.world.champion == stage.world.live == STABLE, f"error at effect {n}"
            assert not stage.world.arms
            assert not any(state.lost for state in stage.states), "that was not its fault"
        else:
            assert state.phase is Phase.PROMOTED
        stage.world.misfortune = None
        stage.start(MemoryTraffic(stage.world, FEW, **GOOD))
        assert stage.world.champion == CANDIDATE
        consistent(stage.world)


def test_where_nothing_can_be_written_any_more_the_next_start_mends_it(tmp_path):
    for n in range(effects_of(tmp_path, GOOD)):
        stage = Stage(World(misfortune=disk_full(n, 10_000)), tmp_path / f"full{n}", SMALL)
        with pytest.raises(UserError):
            stage.start(MemoryTraffic(stage.world, FEW, **GOOD))
        assert stage.world.live in (STABLE, CANDIDATE)
        stage.world.misfortune = None
        stage.start(MemoryTraffic(stage.world, FEW, **GOOD))
        assert stage.world.champion == CANDIDATE, f"full from effect {n} on"
        consistent(stage.world)


def test_ctrl_c_at_any_point_leaves_no_arm_running_and_no_half_switch(tmp_path):
    for n in range(effects_of(tmp_path, GOOD)):
        stage = Stage(World(misfortune=interrupt_at(n)), tmp_path / f"interrupted{n}", SMALL)
        with pytest.raises(KeyboardInterrupt):
            stage.start(MemoryTraffic(stage.world, FEW, **GOOD))
        consistent(stage.world)
        stage.world.misfortune = None
        stage.start(MemoryTraffic(stage.world, FEW, **GOOD))
        assert stage.world.champion == CANDIDATE
        consistent(stage.world)
        assert len(stage.states) <= 1, "it went on; it did not begin anew"


def test_a_rollout_that_was_cut_off_gives_way_to_another_candidate(stage):
    stage.world.misfortune = kill_at(30)
    with pytest.raises(Killed):
        stage.start(MemoryTraffic(stage.world, **GOOD))
    stage.world.misfortune = None
    other = stage.engine().run("m-00000000000f", STABLE, MemoryTraffic(stage.world, users=10))
    first, second = stage.states
    assert (first.phase, first.reason, first.lost) == (Phase.ROLLED_BACK, "superseded", False)
    assert second == other
    assert stage.world.candidate_alias == CANDIDATE, "it was not judged, so it may try again"


def test_other_users_or_settings_begin_a_new_rollout(stage):
    stage.world.misfortune = kill_at(30)
    with pytest.raises(Killed):
        stage.start(MemoryTraffic(stage.world, **GOOD))
    stage.world.misfortune = None
    stage.start(MemoryTraffic(stage.world, fingerprint="others", **GOOD))
    assert stage.states[0].reason == "superseded"
    assert stage.world.champion == CANDIDATE


def test_a_champion_that_changed_meanwhile_is_not_overthrown(stage):
    def usurp(effect):
        if stage.states and stage.states[-1].phase is Phase.COMMITTING:
            stage.world.champion = stage.world.live = "m-00000000000a"

    stage.world.misfortune = usurp
    with pytest.raises(UserError, match="another champion"):
        stage.start(MemoryTraffic(stage.world, **GOOD))
    assert stage.world.champion == stage.world.live == "m-00000000000a"
    assert stage.states[-1].phase is Phase.ROLLED_BACK


def test_two_processes_never_drive_rollouts_at_once(stage):
    rollouts = Rollouts(stage.folder)
    with (
        rollouts.locked(),
        pytest.raises(RolloutError, match="another process"),
        Rollouts(stage.folder).locked(),
    ):
        pass
    with rollouts.locked():
        pass


def test_a_damaged_state_is_said_by_its_file(stage):
    stage.start(MemoryTraffic(stage.world, **GOOD))
    path = next(stage.folder.glob("*/state.json"))
    path.write_text('{"format": 1}')
    with pytest.raises(RolloutError, match=r"state\.json is damaged"):
        stage.engine().settle()
