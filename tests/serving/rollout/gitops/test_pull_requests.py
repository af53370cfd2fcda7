"""Rollouts that begin with a pull request: on a forge, and by a branch that people merge."""

from __future__ import annotations

import pytest
from github_server import TOKEN, GitHubServer
from gitops_world import PATCH, FakeTime, Remote, git, state, target
from rollout_world import CANDIDATE, STABLE

from recommender.config.gitops_target import GitOpsTargetConfig
from recommender.errors import ConfigError, RolloutError
from serving.rollout.gitops.github import GitHub
from serving.rollout.target import CandidateError

BRANCH = "ostinato/rollout-r1"


class Scene:
    """A remote, somebody who looks at proposals while the bot waits, and the bot."""

    def __init__(self, folder, forge=True):
        self.remote, self.time, self.folder, self.forge = Remote(folder), FakeTime(), folder, forge
        self.bot = self.made()
        self.bot.promote(STABLE)
        self.bot.note(state())

    def made(self, work="work.git"):
        bot = target(self.remote, self.folder / work, proposals=self.forge, time=self.time)
        bot.note(state())
        return bot

    def person(self, action):
        """Let a person act, once, while the bot waits."""
        acted = []

        def act():
            if not acted:
                acted.append(True)
                action()

        self.time.during = act

    def merge(self, *options):
        self.remote.pull()
        git(self.remote.clone, "fetch", "--quiet", "origin", BRANCH)
        git(self.remote.clone, "merge", "--quiet", *options, "FETCH_HEAD")
        if "--squash" in options:
            git(self.remote.clone, "commit", "--quiet", "-m", "Squashed")
        git(self.remote.clone, "push", "--quiet", "origin", "HEAD:main")

    def branches(self):
        return git(self.remote.path, "branch", "--format=%(refname:short)").split()


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


@pytest.mark.parametrize("options", [["--no-ff"], ["--squash"]])
def test_what_a_person_merges_starts_and_the_steps_are_commits(scene, options):
    scene.person(lambda: scene.merge(*options))
    scene.bot.start_candidate(CANDIDATE)
    assert scene.branches() == ["main"], "the branch has served"
    scene.bot.set_weight(25)
    scene.bot.start_candidate(CANDIDATE)
    assert "trafficPercent: 25" in scene.remote.show(PATCH)
    assert scene.remote.subjects()[-1] == f"Give {CANDIDATE} 25 % (had 0 %)"


def test_nothing_reaches_the_branch_before_it_is_merged(scene):
    with pytest.raises(RolloutError, match="nobody has merged") as caught:
        scene.bot.start_candidate(CANDIDATE)
    assert not isinstance(caught.value, CandidateError), "not the candidate's fault"
    assert CANDIDATE not in scene.remote.show(PATCH)
    assert scene.branches() == ["main", BRANCH]
    scene.bot.rollback()
    assert scene.branches() == ["main"]


def test_a_branch_that_is_deleted_declines_the_candidate(scene):
    scene.person(lambda: git(scene.remote.path, "branch", "-D", BRANCH))
    with pytest.raises(CandidateError, match="people have declined"):
        scene.bot.start_candidate(CANDIDATE)


@pytest.mark.slow
def test_a_proposal_that_is_merged_with_changes_ends_the_rollout(scene):
    def change():
        clone = scene.remote.clone
        git(clone, "fetch", "--quiet", "origin", BRANCH)
        git(clone, "checkout", "--quiet", "FETCH_HEAD")
        path = clone / PATCH
        path.write_text(path.read_text().replace("trafficPercent: 0", "trafficPercent: 90"))
        git(clone, "commit", "--quiet", "-am", "More at once")
        git(clone, "push", "--quiet", "origin", "HEAD:main")

    scene.person(change)
    with pytest.raises(RolloutError, match=r"merged with changes.*More at once"):
        scene.bot.start_candidate(CANDIDATE)


@pytest.mark.slow
def test_killed_while_it_waits_it_goes_on_waiting_for_the_same_proposal(scene):
    class KilledError(BaseException):
        pass

    def kill():
        raise KilledError

    scene.person(kill)
    with pytest.raises(KilledError):
        scene.bot.start_candidate(CANDIDATE)
    proposed = git(scene.remote.path, "rev-parse", BRANCH)
    scene.person(lambda: scene.merge("--ff-only"))
    scene.made("other.git").start_candidate(CANDIDATE)
    assert git(scene.remote.path, "rev-parse", "main") == proposed


@pytest.mark.slow
def test_a_rollout_that_was_merged_once_is_not_proposed_again(scene):
    scene.person(lambda: scene.merge("--ff-only"))
    scene.bot.start_candidate(CANDIDATE)
    scene.bot.rollback()
    again = scene.made()
    again.start_candidate(CANDIDATE)
    assert scene.branches() == ["main"]
    assert scene.remote.subjects()[-1] == f"Start the canary of {CANDIDATE}"


@pytest.fixture
def forge(tmp_path):
    (tmp_path / "forged").mkdir()
    with GitHubServer(tmp_path / "forged/remote.git") as server:
        yield server


def github(server, token=TOKEN, pause=lambda seconds: None):
    return GitHub(server.url, "owner/name", token, attempts=3, pause=pause)


def test_a_pull_request_is_opened_once_and_closed_when_the_rollout_is_taken_back(forge, tmp_path):
    scene = Scene(tmp_path / "forged", github(forge))
    for _ in range(2):
        with pytest.raises(RolloutError, match=r"nobody has merged.*/pull/1"):
            scene.bot.start_candidate(CANDIDATE)
    (pull,) = forge.pulls
    assert pull["title"] == f"Start the canary of {CANDIDATE}"
    assert "Ostinato-Rollout: r1" in pull["body"]
    scene.bot.rollback()
    assert pull["state"] == "closed"
    assert forge.comments == ["the rollout was taken back"]


@pytest.mark.slow
def test_a_pull_request_that_is_merged_on_the_forge_starts_the_rollout(forge, tmp_path):
    scene = Scene(tmp_path / "forged", github(forge))

    def merge():
        scene.merge("--squash")
        forge.pulls[0].update(state="closed", merged_at="2026-01-01T00:00:00Z")

    scene.person(merge)
    scene.bot.start_candidate(CANDIDATE)
    assert CANDIDATE in scene.remote.show(PATCH)


@pytest.mark.slow
def test_a_pull_request_that_is_closed_declines_the_candidate(forge, tmp_path):
    scene = Scene(tmp_path / "forged", github(forge))
    scene.person(lambda: forge.pulls[0].update(state="closed"))
    with pytest.raises(CandidateError, match="people have declined"):
        scene.bot.start_candidate(CANDIDATE)


def test_an_answer_that_is_lost_makes_no_second_pull_request(forge, tmp_path):
    remote = Remote(tmp_path / "forged")
    git(remote.path, "branch", "b", "main")
    forge.lost = 1
    assert github(forge).open("b", "main", "title", "body").endswith("/pull/1")
    assert github(forge).open("b", "main", "title", "body").endswith("/pull/1")
    assert len(forge.pulls) == 1


def test_a_forge_that_is_busy_is_asked_again_when_it_says(forge):
    waits = []
    forge.faults = [(403, {"Retry-After": "7"}), (502, {})]
    assert github(forge, pause=waits.append).declined("b", "main") is False
    assert waits[0] >= 7
    forge.faults = [(503, {})] * 3
    with pytest.raises(RolloutError, match="does not answer"):
        github(forge).declined("b", "main")


@pytest.mark.parametrize(
    ("token", "repository", "hint"),
    [("wrong", "owner/name", "wrong or has expired"), (TOKEN, "o/n", "forge_repository")],
)
def test_a_forge_that_refuses_is_said_without_the_token(forge, token, repository, hint):
    with pytest.raises(RolloutError) as caught:
        GitHub(forge.url, repository, token).open("b", "main", "t", "b")
    assert hint in caught.value.hint
    assert token not in str(caught.value).replace("wrong or", "")
    assert forge.asked == 1, "no use in trying again"


@pytest.mark.parametrize(
    "url",
    ["https://github.com/owner/name.git", "git@github.com:owner/name", "ssh://g@h/owner/name"],
)
def test_the_forges_repository_is_told_by_the_url(url, monkeypatch):
    monkeypatch.setenv("T", "x")
    assert GitHub.of(GitOpsTargetConfig(repository=url, token_env="T"))._url.endswith("/owner/name")


def test_a_forge_without_a_token_is_refused():
    with pytest.raises(ConfigError, match="takes a token"):
        GitHub.of(GitOpsTargetConfig(repository="https://github.com/owner/name"))
