"""Whole rollouts through a real Git repository: promoted, rolled back, killed at every point."""

from __future__ import annotations

import pytest
import yaml
from gitops_world import PATCH, GitStage, Remote, git
from rollout_world import CANDIDATE, STABLE, Killed, MemoryTraffic, World, interrupt_at, kill_at

from recommender.config.rollout import RolloutConfig
from recommender.errors import UserError
from serving.rollout.state import Phase

GOOD = {"hit_rates": (0.2, 0.6)}
BAD = {"hit_rates": (0.5, 0.0)}
SMALL = RolloutConfig(steps=(25, 100), minimum_users_per_arm=5)
FEW = 120


def stage_in(folder, config=SMALL):
    stage = GitStage(World(), folder / "work" / "rollouts", config, remote=Remote(folder))
    stage.folder.mkdir(parents=True)
    return stage


def start(stage, behaviour, users=FEW):
    return stage.start(MemoryTraffic(stage.world, users, **behaviour))


def served(remote):
    """Return what Git says: the stable version, and the canary's with its percent."""
    spec = yaml.safe_load(remote.show(PATCH))["spec"]
    canaries = [(c["predictor"]["name"], c["trafficPercent"]) for c in spec.get("canary", [])]
    return spec["predictor"]["name"], canaries


def test_a_rollout_is_one_commit_per_step_with_the_analysis_in_each(tmp_path):
    stage = stage_in(tmp_path, RolloutConfig())
    state = start(stage, GOOD, users=1200)
    assert state.phase is Phase.PROMOTED
    assert stage.remote.subjects() == [
        f"Serve everybody {STABLE}",
        f"Start the canary of {CANDIDATE}",
        f"Give {CANDIDATE} 5 % (had 0 %)",
        f"Give {CANDIDATE} 25 % (had 5 %)",
        f"Give {CANDIDATE} 50 % (had 25 %)",
        f"Give {CANDIDATE} 100 % (had 50 %)",
        f"Serve everybody {CANDIDATE}",
    ]
    assert served(stage.remote) == (CANDIDATE, [])
    step = git(stage.remote.path, "log", "-1", "--skip=2", "--format=%B", "main")
    told = next(one for one in state.analyses if one["percent"] == 25)
    assert "At 25 %: promote" in step
    for finding in told["findings"]:
        assert f"- {finding['guardrail']}: {finding['verdict']}" in step
    assert "interval [" in step
    assert str(told["arms"]["candidate"]["users"]) in step
    trailers = git(stage.remote.path, "log", "-1", "--format=%(trailers:only,unfold)", "main")
    assert f"Ostinato-Rollout: {state.id}" in trailers
    assert "Ostinato-Verdict: promote" in trailers
    assert f"Ostinato-Candidate: {CANDIDATE}" in trailers


def test_a_rollback_is_a_commit_too_and_says_why(tmp_path):
    stage = stage_in(tmp_path)
    state = start(stage, BAD)
    assert state.phase is Phase.ROLLED_BACK
    assert served(stage.remote) == (STABLE, [])
    assert stage.remote.subjects()[-1] == f"Take {CANDIDATE} back"
    message = " ".join(stage.remote.message().split())
    assert " ".join(state.reason.split()) in message
    assert "Ostinato-Verdict: roll_back" in message


def goes_on(folder, behaviour, whole, n):
    stage = stage_in(folder)
    stage.world.misfortune = kill_at(n)
    with pytest.raises(Killed):
        start(stage, behaviour)
    stage.world.misfortune = None
    # Killed after its last word was written, it is over; a start then tries the candidate anew.
    over = bool(stage.states) and stage.states[-1].phase is Phase.ROLLED_BACK
    start(stage, behaviour)
    first, *trial = whole.remote.subjects()
    assert stage.remote.subjects() == [first, *trial * (1 + over)], f"killed at effect {n}"
    assert served(stage.remote) == served(whole.remote)
    assert stage.world.champion == served(stage.remote)[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two rollouts that nothing disturbed, with the effects at which they pushed."""
    found = {}
    for name, behaviour in (("promoted", GOOD), ("rolled back", BAD)):
        stage = stage_in(tmp_path_factory.mktemp("whole"))
        start(stage, behaviour)
        found[name] = (behaviour, stage)
    return found


@pytest.mark.parametrize("when", ["before it arrives", "after it has arrived"])
@pytest.mark.parametrize(
    ("name", "push"), [("promoted", 1), pytest.param("rolled back", 3, marks=pytest.mark.slow)]
)
def test_killed_at_a_push_it_goes_on_without_a_commit_too_many(tmp_path, whole, name, push, when):
    behaviour, undisturbed = whole[name]
    n = undisturbed.pushes[push] + (when == "after it has arrived")
    goes_on(tmp_path, behaviour, undisturbed, n)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["promoted", "rolled back"])
def test_killed_anywhere_it_goes_on_without_a_commit_too_many(tmp_path, whole, name):
    behaviour, undisturbed = whole[name]
    for n in range(undisturbed.world.effects):
        goes_on(tmp_path / f"killed{n}", behaviour, undisturbed, n)


@pytest.mark.slow
def test_ctrl_c_takes_the_canary_back_and_the_next_start_goes_on(tmp_path):
    stage = stage_in(tmp_path)
    stage.world.misfortune = interrupt_at(12)
    with pytest.raises(KeyboardInterrupt):
        start(stage, GOOD)
    assert served(stage.remote) == (STABLE, [])
    stage.world.misfortune = None
    assert start(stage, GOOD).phase is Phase.PROMOTED
    assert served(stage.remote) == (CANDIDATE, [])


def test_a_person_who_edits_the_bots_file_ends_the_rollout_and_is_not_written_over(tmp_path):
    stage = stage_in(tmp_path)

    def edit(effect):
        if "trafficPercent: 25" in stage.remote.show(PATCH) and "Ann" not in authors(stage.remote):
            stage.remote.edit(PATCH, "trafficPercent: 25", "trafficPercent: 50", "More of it")

    stage.world.misfortune = lambda effect: edit(effect) if effect > 8 else None
    with pytest.raises(UserError, match=r"not as the bot left it.*More of it"):
        start(stage, GOOD)
    assert stage.remote.subjects("Ann")[-1] == "More of it"
    assert served(stage.remote) == (STABLE, [(CANDIDATE, 50)]), "it is as they wanted it"
    assert stage.world.champion == STABLE
    assert stage.states[-1].phase is Phase.ROLLING_BACK
    stage.world.misfortune = None
    stage.remote.edit(PATCH, "trafficPercent: 50", "trafficPercent: 25", "As it was")
    stage.engine().settle()
    assert served(stage.remote) == (STABLE, []), "restored, it is the bot's again"
    assert stage.states[-1].phase is Phase.ROLLED_BACK


def authors(remote):
    return git(remote.path, "log", "-1", "--format=%an", "main")
