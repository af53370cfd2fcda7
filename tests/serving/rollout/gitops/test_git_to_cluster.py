"""From a commit to the cluster: rendered by Kustomize, applied strictly, seen by the observer.

The GitOps controller is played by `Follower`: it merges the bot's patch into the base and applies
the result to the API server that the KServe target is tested with. That Kustomize makes the same of
it is tested with the real `kubectl kustomize`; where there is no kubectl, that is skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from io import BytesIO

import pytest
import yaml
from fake_kubernetes import SERVICES, FakeKubernetes
from gitops_world import NAME, PATCH, FakeTime, Remote, git, state, target
from kserve_schema import denial, unknown_fields, wrong_types
from rollout_world import CANDIDATE, STABLE

from recommender.config.rollout_targets import KServeTargetConfig
from recommender.errors import RolloutError, ServingError
from serving.rollout.gitops.observers import ClusterObserver
from serving.rollout.kserve.patches import merged
from serving.rollout.target import CandidateError

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(
    not KUBECTL,
    reason="NOT CHECKED: kubectl is not installed, so nothing renders the kustomization",
)


def merged_by_hand(remote):
    """Return the InferenceService of the newest commit, as a merge patch makes it of the base."""
    base = yaml.safe_load(remote.show("base/inference-service.yaml"))
    return merged(base, yaml.safe_load(remote.show(PATCH)))


def rendered(remote, folder):
    """Return the objects of the newest commit, rendered by Kustomize."""
    shutil.rmtree(folder, ignore_errors=True)
    packed = subprocess.run(
        ["git", "archive", "main"], cwd=remote.path, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")
    told = subprocess.run(
        [KUBECTL, "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    return [document for document in yaml.safe_load_all(told.stdout) if document]


class Follower:
    """Applies the branch to a cluster, as Argo CD does."""

    def __init__(self, remote, fake):
        self.remote, self.fake = remote, fake
        self.head, self.stopped, self.applied = "", False, 0

    def sync(self):
        head = git(self.remote.path, "rev-parse", "main")
        if head != self.head and not self.stopped:
            self.apply(merged_by_hand(self.remote))
            self.head = head
        for _ in range(3):
            self.fake.reconcile()

    def apply(self, document):
        assert not unknown_fields(document, "V1beta1InferenceService")
        assert not wrong_types(document, "V1beta1InferenceService")
        if "runtime" not in document["spec"]["predictor"]["model"]:
            return  # no model yet
        path = f"{SERVICES}/{NAME}"
        with self.fake.lock:
            before = self.fake.objects.get(path)
            assert not denial(document, before)
            status = {"status": before["status"]} if before and "status" in before else {}
            self.fake.put(path, {**document, **status})
            self.applied += 1


class Scene:
    """A remote, a cluster that follows it, and the bot."""

    def __init__(self, folder, fake, mode):
        self.remote, self.fake, self.time = Remote(folder, mode), fake, FakeTime()
        self.follower = Follower(self.remote, fake)
        settings = KServeTargetConfig(
            kubeconfig=fake.kubeconfig(folder / "kubeconfig"), context="fake", retry_s=0.1
        )
        observer = ClusterObserver.of(settings, NAME)
        self.target = target(self.remote, folder / "work.git", observer, time=self.time)
        self.time.during = self.follower.sync
        self.target.prepare(STABLE)
        self.target.promote(STABLE)
        self.target.note(state())

    @property
    def shares(self):
        return {v: p for v, p in self.fake.controller.shares.items() if p}


@pytest.fixture(params=["Standard", "Knative"])
def scene(request, tmp_path):
    with FakeKubernetes(mode=request.param) as fake:
        yield Scene(tmp_path, fake, request.param)


@pytest.fixture
def standard(tmp_path):
    with FakeKubernetes() as fake:
        yield Scene(tmp_path, fake, "Standard")


def test_each_step_is_served_on_the_cluster_when_it_returns(scene):
    assert scene.shares == {STABLE: 100}
    scene.target.start_candidate(CANDIDATE)
    scene.target.start_stable(STABLE)
    assert scene.shares == {STABLE: 100}
    scene.target.set_weight(25)
    assert scene.shares == {STABLE: 75, CANDIDATE: 25}
    scene.target.check()
    scene.target.prepare(CANDIDATE)
    scene.target.promote(CANDIDATE)
    assert scene.shares == {CANDIDATE: 100}
    assert scene.target.live() == CANDIDATE


@pytest.mark.slow
def test_a_rollback_gives_everybody_the_stable_version_and_the_next_canary_starts_from_it(scene):
    scene.target.start_candidate(CANDIDATE)
    scene.target.set_weight(50)
    scene.target.rollback()
    assert scene.shares == {STABLE: 100}
    seen = len(scene.fake.controller.seen)
    other = "m-00000000000f"
    scene.target.note(state(other, name="r2"))
    scene.target.start_candidate(other)
    scene.target.set_weight(25)
    assert scene.shares == {STABLE: 75, other: 25}
    assert all(CANDIDATE not in s or not s[CANDIDATE] for s in scene.fake.controller.seen[seen:])


def test_no_step_restarts_a_pod_or_takes_one_from_the_stable_arm(standard):
    standard.target.start_candidate(CANDIDATE)
    for percent in (5, 50, 100):
        standard.target.set_weight(percent)
    standard.target.promote(CANDIDATE)
    pods = standard.fake.controller.deployments
    assert [deployment.restarts for deployment in pods.values()] == [0]
    assert standard.fake.controller.fewest >= 2, "minReplicas of the base"


@pytest.mark.slow
def test_the_bot_never_asks_the_api_server_for_anything_but_to_read(standard):
    standard.target.start_candidate(CANDIDATE)
    standard.target.rollback()
    assert {method for method, _, _ in standard.fake.requests} == {"GET"}


def test_a_model_that_cannot_be_loaded_is_the_candidates_fault_at_once(standard):
    standard.fake.controller.broken = {CANDIDATE}
    with pytest.raises(CandidateError, match="hash mismatch"):
        standard.target.start_candidate(CANDIDATE)
    assert standard.time.now < 10
    standard.target.rollback()
    assert standard.shares == {STABLE: 100}


@pytest.mark.slow
def test_a_candidate_that_never_becomes_ready_is_given_up_after_the_timeout(standard):
    standard.fake.controller.slow = {CANDIDATE}
    with pytest.raises(CandidateError, match="not ready, not after 20 s"):
        standard.target.start_candidate(CANDIDATE)


def test_a_controller_that_does_not_follow_is_nobody_s_pass_and_not_the_candidates_fault(standard):
    standard.follower.stopped = True
    with pytest.raises(ServingError, match="has not arrived") as caught:
        standard.target.start_candidate(CANDIDATE)
    assert not isinstance(caught.value, CandidateError)
    assert "look at the controller" in caught.value.hint


@pytest.mark.slow
def test_a_candidate_that_is_lost_under_way_ends_the_check(standard):
    standard.target.start_candidate(CANDIDATE)
    standard.target.set_weight(25)
    standard.fake.controller.slow = {CANDIDATE}
    standard.time.pause(1)
    standard.target.check()  # a pod may restart
    standard.time.pause(11)
    with pytest.raises(CandidateError, match="no longer ready"):
        standard.target.check()


@pytest.mark.slow
def test_a_cluster_that_cannot_be_asked_serves_nothing(standard):
    standard.fake.token = "another"
    with pytest.raises(ServingError, match="401"):
        standard.target.start_candidate(CANDIDATE)


@pytest.mark.parametrize(
    ("installed", "words"),
    [({"version": "v0.20.1"}, "can't split traffic"), ({"gateway": False}, "Gateway API")],
)
def test_a_cluster_that_would_ignore_a_canary_is_found_before_the_commit(
    standard, installed, words
):
    standard.fake.install(**installed)
    with pytest.raises(RolloutError, match=words):
        standard.target.start_candidate(CANDIDATE)
    assert CANDIDATE not in standard.remote.show(PATCH)


@pytest.mark.slow
def test_git_and_the_cluster_must_mean_the_same_mode(standard):
    path = "base/inference-service.yaml"
    standard.follower.stopped = True
    standard.remote.edit(path, "deploymentMode: Standard", "deploymentMode: Knative")
    with pytest.raises(RolloutError, match=r"as knative, the cluster deploys it as standard"):
        standard.target.start_candidate(CANDIDATE)


def test_a_revert_by_people_is_seen_while_the_step_is_watched(standard):
    standard.target.start_candidate(CANDIDATE)
    standard.target.set_weight(25)
    standard.remote.pull()
    git(standard.remote.clone, "revert", "--no-edit", "HEAD")
    git(standard.remote.clone, "push", "--quiet", "origin", "HEAD:main")
    standard.time.pause(5)
    with pytest.raises(RolloutError, match=r"people have set the canary to 0 %.*Revert"):
        standard.target.check()


@needs_kubectl
def test_the_example_renders_before_the_first_model_and_with_a_canary(tmp_path):
    remote = Remote(tmp_path)
    kinds = [document["kind"] for document in rendered(remote, tmp_path / "rendered")]
    assert kinds.count("InferenceService") == 1
    bot = target(remote, tmp_path / "work.git", runtime=None)
    bot.promote(STABLE)
    bot.note(state())
    bot.start_candidate(CANDIDATE)
    bot.set_weight(5)
    (service,) = [
        document
        for document in rendered(remote, tmp_path / "rendered")
        if document["kind"] == "InferenceService"
    ]
    namespace = {"namespace": "recommender"}
    by_hand = merged_by_hand(remote)
    assert service == {**by_hand, "metadata": {**by_hand["metadata"], **namespace}}
    (canary,) = service["spec"]["canary"]
    assert canary["trafficPercent"] == 5
    assert canary["predictor"]["model"]["storageUri"] == f"s3://models/{CANDIDATE}"
    stable = service["spec"]["predictor"]
    assert stable["model"]["storageUri"] == f"s3://models/{STABLE}"
    own = ("name", "minReplicas", "model")
    assert {k: v for k, v in canary["predictor"].items() if k not in own} == {
        k: v for k, v in stable.items() if k not in own
    }, "both arms are the same but for the model"
