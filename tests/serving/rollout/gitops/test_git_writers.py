"""Others write, too: people, other bots, hooks; and remotes that are not what they should be."""

from __future__ import annotations

import threading

import pytest
import yaml
from gitops_world import NAME, PATCH, FakeTime, Remote, git, model, state, target
from rollout_world import CANDIDATE, STABLE

from recommender.errors import ConfigError, RolloutError
from serving.rollout.gitops.commits import Change, Identity
from serving.rollout.gitops.git import Git, GitError
from serving.rollout.gitops.people import LayoutError
from serving.rollout.gitops.repository import Repository

REFUSE = (
    'n=$(cat count 2>/dev/null || echo 0); echo $((n+1)) > count; [ "$n" -ge {times} ] || exit 1'
)


@pytest.fixture
def remote(tmp_path):
    return Remote(tmp_path)


@pytest.fixture
def served(remote, tmp_path):
    """A target with a stable version and a rollout of the candidate noted."""
    bot = target(remote, tmp_path / "work.git")
    bot.promote(STABLE)
    bot.note(state())
    return bot


def repository(remote, folder, owned, **options):
    who = Identity("ostinato", "bot@example.com")
    time = FakeTime()
    return Repository(
        Git(str(remote.path)), "main", folder, who, owned, pause=time.pause, **options
    )


def test_two_writers_at_once_lose_no_commit_and_make_none_twice(remote, tmp_path):
    def write(name):
        mine = repository(remote, tmp_path / name, name, attempts=30)
        for n in range(4):
            change = {f"{name}/{n}.txt": f"{n}\n"}
            mine.update(lambda commit, change=change, n=n: Change(change, f"{name} {n}\n"))

    threads = [threading.Thread(target=write, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = remote.subjects()
    assert sorted(made) == sorted(f"{name} {n}" for name in ("one", "two") for n in range(4))
    assert [s for s in made if s.startswith("one")] == [f"one {n}" for n in range(4)]
    assert git(remote.path, "log", "--merges", "--format=%s", "main") == ""


def test_what_people_push_in_between_is_built_upon(remote, served):
    served.start_candidate(CANDIDATE)
    remote.edit("base/inference-service.yaml", "minReplicas: 2", "minReplicas: 4", "More pods")
    served.set_weight(25)
    assert "minReplicas: 4" in remote.show("base/inference-service.yaml")
    assert remote.subjects("Ann")[-1] == "More pods"
    spec = yaml.safe_load(remote.show(PATCH))["spec"]
    assert spec["predictor"]["minReplicas"] == 5, "the stable arm keeps people's four"


@pytest.mark.slow
def test_a_push_that_is_overtaken_is_worked_out_anew(remote, served):
    served.start_candidate(CANDIDATE)
    overtaken = []

    def overtake(refspec, push=served._folder.repository._push):
        if not overtaken:
            overtaken.append(
                remote.edit("base/kustomization.yaml", "resources:", "# x\nresources:")
            )
        push(refspec)

    served._folder.repository._push = overtake
    served.set_weight(25)
    assert git(remote.path, "rev-parse", "main^") == overtaken[0]
    assert remote.subjects()[-1] == f"Give {CANDIDATE} 25 % (had 0 %)"


def test_a_change_in_the_bots_file_that_overtakes_a_push_is_not_written_over(remote, served):
    served.start_candidate(CANDIDATE)
    overtaken = []

    def overtake(refspec, push=served._folder.repository._push):
        if not overtaken:
            text = "storageUri: s3://models/mine"
            overtaken.append(remote.edit(PATCH, f"storageUri: s3://models/{STABLE}", text, "Mine"))
        push(refspec)

    served._folder.repository._push = overtake
    with pytest.raises(RolloutError, match=r"not as the bot left it; newest.*Ann.*\(Mine\)"):
        served.set_weight(25)
    assert "s3://models/mine" in remote.show(PATCH)
    with pytest.raises(RolloutError, match="not as the bot left it"):
        served.rollback()
    assert "s3://models/mine" in remote.show(PATCH)


def test_a_canary_that_people_took_away_is_nothing_to_take_back(remote, served):
    before = remote.show(PATCH)
    served.start_candidate(CANDIDATE)
    remote.pull()
    (remote.clone / PATCH).write_text(before + "\n")
    remote.commit("Ended by hand")
    served.rollback()
    assert remote.subjects()[-1] == f"Start the canary of {CANDIDATE}"
    served.note(state(name="r2"))
    served.start_candidate(CANDIDATE)
    assert remote.subjects()[-1] == f"Start the canary of {CANDIDATE}"
    assert len(remote.subjects()) == 3, "the next rollout begins from what they left"


def test_another_rollouts_canary_is_neither_replaced_nor_taken_away(remote, served, tmp_path):
    served.start_candidate(CANDIDATE)
    other = target(remote, tmp_path / "other.git")
    other.note(state("m-00000000000f", name="r2"))
    with pytest.raises(RolloutError, match=r"another rollout \(r1\) has a canary in Git"):
        other.start_candidate("m-00000000000f")
    other.rollback()
    assert CANDIDATE in remote.show(PATCH)


def test_a_hook_that_refuses_at_first_is_tried_again(remote, served):
    remote.hook("pre-receive", REFUSE.format(times=3))
    served.start_candidate(CANDIDATE)
    assert len(remote.subjects()) == 2


def test_a_hook_that_always_refuses_is_said_with_its_own_words(remote, tmp_path):
    remote.hook("pre-receive", "echo 'bots may not push on Fridays' >&2; exit 1")
    time = FakeTime()
    bot = target(remote, tmp_path / "work.git", time=time, attempts=4)
    with pytest.raises(GitError, match=r"(?s)in 4 attempts.*bots may not push on Fridays"):
        bot.promote(STABLE)
    assert time.pauses == 3
    assert remote.subjects() == []


def test_locks_of_a_git_that_was_killed_are_in_nobodys_way(remote, served, tmp_path):
    for name in ("shallow.lock", "config.lock", "refs/ostinato/pending.lock"):
        (tmp_path / "work.git" / name).write_text("")
    served.start_candidate(CANDIDATE)
    assert CANDIDATE in remote.show(PATCH)


@pytest.mark.slow
def test_a_work_folder_that_is_lost_is_made_anew(remote, served, tmp_path):
    served.start_candidate(CANDIDATE)
    fresh = target(remote, tmp_path / "fresh.git")
    fresh.note(state())
    fresh.start_candidate(CANDIDATE)
    fresh.set_weight(25)
    assert len(remote.subjects()) == 3


def test_the_bot_writes_nowhere_but_in_its_folder(remote, tmp_path):
    mine = repository(remote, tmp_path / "work", "rollout")
    for path in ("base/inference-service.yaml", "rollout-2/x", "rollout/../base/x"):
        with pytest.raises(GitError):
            mine.update(lambda commit, path=path: Change({path: "x"}, "x"))
    assert remote.subjects() == []


def test_a_link_in_the_bots_place_is_not_followed(remote, tmp_path):
    remote.pull()
    git(remote.clone, "rm", "-rq", "rollout")
    (remote.clone / "rollout").symlink_to("base")
    remote.commit()
    with pytest.raises(RolloutError):
        target(remote, tmp_path / "work.git").promote(STABLE)
    assert remote.subjects() == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/nowhere/at/all.git", "there is no Git repository"),
        ("http://127.0.0.1:9/x.git", "can't be reached"),
        ("ext::sh -c true", "git fetch failed"),
    ],
)
def test_a_remote_that_is_not_there_is_said(tmp_path, url, words):
    with pytest.raises(GitError, match=words):
        target(url, tmp_path / "work.git", attempts=2).live()


def test_a_branch_that_is_not_there_is_said(remote, tmp_path):
    bot = target(remote, tmp_path / "work.git")
    bot._folder.repository.branch = "release"
    with pytest.raises(RolloutError, match="has no branch release"):
        bot.live()


def test_git_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GitError, match="git is not installed"):
        Git("/x.git")


def test_a_token_that_is_not_there_is_said(monkeypatch):
    monkeypatch.delenv("BOT_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="BOT_TOKEN is empty"):
        Git("https://git.example.com/x.git", "BOT_TOKEN", "bot")


@pytest.mark.parametrize(
    ("path", "old", "new", "words"),
    [
        ("kustomization.yaml", "components:\n- rollout", "", "does not name the component"),
        ("base/kustomization.yaml", "resources:", "namePrefix: x-\nresources:", "namePrefix"),
        (
            "base/inference-service.yaml",
            "serving.kserve.io/deploymentMode: Standard",
            "x: y",
            "does not say how it is deployed",
        ),
        (
            "base/inference-service.yaml",
            "minReplicas: 2",
            "canaryTrafficPercent: 5",
            "which the bot owns",
        ),
        ("base/inference-service.yaml", f"name: {NAME}", "name: other", "one InferenceService"),
        ("base/inference-service.yaml", "spec:", "spec: [", "not valid YAML"),
        (
            "kustomization.yaml",
            "components:",
            "patches:\n- target: {kind: InferenceService}\n  patch: '[]'\ncomponents:",
            "patches the InferenceService",
        ),
    ],
)
def test_a_layout_that_would_not_work_is_said_before_anything_is_written(
    remote, tmp_path, path, old, new, words
):
    remote.edit(path, old, new)
    with pytest.raises(LayoutError, match=words):
        target(remote, tmp_path / "work.git").promote(STABLE)
    assert remote.subjects() == []


def test_a_version_without_a_runtime_is_not_served(remote, tmp_path):
    bot = target(remote, tmp_path / "work.git")
    with pytest.raises(LayoutError, match=f"no ServingRuntime {NAME}-m-9"):
        bot.promote("m-9")


@pytest.mark.slow
def test_a_runtime_that_the_bot_writes_stays_as_it_was_first(remote, tmp_path):
    images = iter("abcdef")

    def runtime(one):
        spec = {"containers": [{"name": "kserve-container", "image": next(images)}]}
        kind = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime"}
        return {**kind, "metadata": {"name": one.runtime}, "spec": spec}

    remote.edit("base/kustomization.yaml", "- runtimes.yaml\n", "")
    bot = target(remote, tmp_path / "work.git", runtime=runtime)
    bot.promote(STABLE)
    bot.note(state())
    bot.start_candidate(CANDIDATE)
    bot.set_weight(25)

    def images_of():
        told = yaml.safe_load_all(remote.show("rollout/runtimes.yaml"))
        return {d["metadata"]["name"]: d["spec"]["containers"][0]["image"] for d in told}

    assert images_of() == {model(STABLE).runtime: "a", model(CANDIDATE).runtime: "b"}
    bot.promote(CANDIDATE)
    assert images_of() == {model(CANDIDATE).runtime: "b"}, "what nobody is served from is gone"
