"""A TrainJob from start to model, and every way it can go wrong. S3 is moto, Kubernetes strict."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fake_kubernetes import Fault
from fake_trainer import JOBS, RUNTIME, FakeTrainer, condition, nodes
from registry_models import save_model
from tiny_world import tiny_config, tiny_dataset
from trainer_schema import problems

from components.train.trainjob import launch
from components.train.trainjob.follow import TrainJobError, follow, jobs
from components.train.trainjob.launch import forget_job, train_by_job
from components.train.trainjob.manifest import job_name, train_job
from recommender.config import Config, parse
from recommender.errors import (
    ConfigError,
    RolloutError,
    ServingError,
    StorageError,
    TrainingError,
    UserError,
)
from recommender.features.dataset import Dataset
from recommender.files import write_json
from recommender.storage import open_store
from recommender.training.distributed.remote import FAILED, OUT, put
from recommender.training.state import Epoch
from serving.rollout.kserve.client import Cluster


@pytest.fixture
def cluster():
    with FakeTrainer() as fake:
        yield fake


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tiny_dataset()


@pytest.fixture
def bench(cluster, data, s3_bucket, tmp_path) -> tuple[Config, Path]:
    data.write(tmp_path / "dataset")
    tree = tiny_config(tmp_path / "workspace", accumulate=4).model_dump(mode="json")
    tree["distributed"] = {
        "launcher": "trainjob",
        "nodes": 2,
        "trainjob": {
            "location": f"s3://{s3_bucket}/training",
            "kubeconfig": cluster.kubeconfig(tmp_path / "kubeconfig"),
            "poll_s": 0.02,
            "schedule_s": 20,
            "retry_s": 60,
            "request_timeout_s": 30,
            "gpus": 2,
        },
    }
    return parse(tree, "test"), tmp_path


def changed(config: Config, **job) -> Config:
    tree = config.model_dump(mode="json")
    tree["distributed"]["trainjob"] |= job
    return parse(tree, "test")


def go(bench, config=None):
    given, root = bench
    return train_by_job(root / "dataset", 0, config or given, root / "out")


def remote_of(job) -> str:
    return job["spec"]["trainer"]["args"][0]


def leave_model(job, root: Path) -> None:
    """Do what the nodes do: leave a model and how it was trained."""
    folder = root / "made"
    save_model(folder / "model")
    epoch = Epoch("search", 1, 2.5, 0.5, 0.1, 1e-3, 1.0, 100)
    told = {"curve": [asdict(epoch)], "best_epoch": 1, "validation_users": 9}
    write_json(folder / "trained.json", {**told, "parameters": 5, "fingerprint": "f"})
    put(open_store(remote_of(job)), folder, OUT)


def succeeding(root: Path):
    """Waiting, then at work, then complete with a model in S3."""
    seen: dict[str, int] = {}

    def step(job):
        turn = seen[job["metadata"]["name"]] = seen.get(job["metadata"]["name"], -1) + 1
        if turn == 5:
            leave_model(job, root)
        if turn >= 5:
            return condition("Complete", "JobsCompleted", "jobset completed successfully")
        return nodes(ready=int(turn > 1))

    return step


def test_the_job_is_made_followed_fetched_and_taken_away(cluster, bench):
    cluster.progress = succeeding(bench[1])
    trained = go(bench)
    assert trained.best_epoch == 1
    assert trained.model.scorer.kind == "popularity"
    assert len(cluster.created) == 1
    assert cluster.deleted == cluster.created


def test_what_the_job_says_fits_the_released_models_and_what_was_configured(bench):
    config, _ = bench
    job = train_job(config, 0, "abc", {"AWS_ENDPOINT_URL_S3": "http://s3", "AWS_SECRET": "x"})
    assert problems(job) == []
    trainer = job["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 2)
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "2"
    assert trainer["env"] == [{"name": "AWS_ENDPOINT_URL_S3", "value": "http://s3"}]
    job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["specs"] = {}
    assert "unknown field" in problems(job)[0]


def test_the_names_of_a_jobs_pods_fit_into_a_label_however_long_the_data_sets_name_is(bench):
    long = bench[0].model_copy(update={"name": "a" * 22 + "-" + "b" * 19})
    (cut, whole) = (job_name(config, "0123456789abcdef") for config in (long, bench[0]))
    # JobSet's Job, the pod's number, and what Kubernetes adds; labels hold 63 characters.
    assert len(f"{cut}-node-0-999-abcde") <= 63
    assert "--" not in cut
    assert whole == f"{bench[0].name}-train-0123456789abcdef"


def test_a_step_started_again_takes_over_what_is_at_work_or_done(cluster, bench, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(launch, "follow", killed)
        with pytest.raises(KeyboardInterrupt):
            go(bench)
    assert (len(cluster.created), cluster.deleted) == (1, [])
    cluster.progress = succeeding(bench[1])
    go(bench)
    assert len(cluster.created) == 1
    # The model is in S3 by now: no job is needed at all.
    go(bench)
    assert len(cluster.created) == 1


def test_a_failed_job_of_before_is_replaced(cluster, bench):
    cluster.progress = lambda job: condition("Failed", "JobFailed", "exit code 1")
    with pytest.raises(TrainJobError, match=r"has failed: JobFailed: exit code 1"):
        go(bench)
    cluster.progress = succeeding(bench[1])
    go(bench)
    assert len(cluster.created) == 2


def test_a_job_that_never_schedules_is_given_up_and_taken_away(cluster, bench):
    cluster.progress = lambda job: condition("Suspended", "Suspended", "quota is used up")
    with pytest.raises(TrainJobError, match=r"did not begin within 0\.2 s .*quota is used up"):
        go(bench, changed(bench[0], schedule_s=0.2))
    assert cluster.deleted == cluster.created


def test_a_job_deleted_while_it_is_followed_is_said_so(cluster, bench):
    def delete(job):
        for path in [path for path in cluster.objects if path.startswith(f"{JOBS}/")]:
            del cluster.objects[path]

    cluster.progress = delete
    with pytest.raises(TrainJobError, match="somebody deleted it"):
        go(bench)


def test_a_job_at_work_for_too_long_is_given_up(cluster, bench):
    config = changed(bench[0], schedule_s=1800, hours=1, poll_s=600)
    settings, now = config.distributed.trainjob, [0.0]
    server, job = Cluster.connect(settings, "test"), train_job(config, 0, "abc", {})
    server.create(jobs(settings), job)
    cluster.put(f"{JOBS}/{job['metadata']['name']}", {**job, "status": nodes(ready=1)})
    with pytest.raises(TrainJobError, match="at work for longer"):
        follow(
            server,
            settings,
            job["metadata"]["name"],
            sleep=lambda seconds: now.__setitem__(0, now[0] + seconds),
            clock=lambda: now[0],
        )
    # Until its own deadline, the wait for its nodes and the controller's time have gone by.
    assert now[0] == 3600 + 1800 + 600 + settings.poll_s


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500, times=3),
        Fault(status=429, times=1, headers={"Retry-After": "0"}),
        Fault(cut="before", times=2),
        Fault(cut="after", times=1, methods=("POST",)),
        Fault(cut="after", times=1, methods=("DELETE",)),
    ],
    ids=["500s", "throttled", "cut", "created but unanswered", "deleted but unanswered"],
)
def test_what_passes_is_waited_for_and_there_is_one_job(cluster, bench, fault):
    cluster.progress = succeeding(bench[1])
    cluster.faults.append(fault)
    go(bench)
    assert len(cluster.created) == 1


def test_a_server_that_stays_down_ends_in_one_clear_error_within_its_time(cluster, bench):
    cluster.faults.append(Fault(status=503, times=10**6))
    with pytest.raises(ServingError, match=r"503.*attempts in 0\.3 s"):
        go(bench, changed(bench[0], retry_s=0.3))
    assert cluster.created == []


def test_an_expired_token_is_named_and_not_tried_again(cluster, bench):
    cluster.token = "fresh"
    with pytest.raises(ServingError, match="does not know who asks") as found:
        go(bench)
    assert "expired" in found.value.hint
    assert len(cluster.requests) == 1


def test_missing_rights_say_where_they_are_listed(cluster, bench):
    cluster.forbidden = lambda method, path: method == "POST"
    with pytest.raises(ServingError, match="not allowed") as found:
        go(bench)
    assert "distributed-training/role.yaml" in found.value.hint


def test_a_runtime_that_is_not_there_is_refused(cluster, bench):
    del cluster.objects[RUNTIME]
    with pytest.raises(RolloutError, match="is no ClusterTrainingRuntime"):
        go(bench)


def test_what_a_user_can_mend_on_the_nodes_is_told_here(cluster, bench):
    def step(job):
        told = {"message": "the loss is nan", "hint": "lower it", "kind": "TrainingError"}
        open_store(remote_of(job)).write_bytes(FAILED, json.dumps(told).encode())
        return condition("Complete", "JobsCompleted", "")

    cluster.progress = step
    with pytest.raises(TrainingError, match="the loss is nan") as found:
        go(bench)
    assert found.value.hint == "lower it"


def test_a_job_that_leaves_nothing_is_no_success(cluster, bench):
    cluster.progress = lambda job: condition("Complete", "JobsCompleted", "")
    with pytest.raises(TrainJobError, match="left no model"):
        go(bench)


def test_without_a_place_to_exchange_data_nothing_begins(cluster, bench):
    with pytest.raises(ConfigError, match=r"distributed\.trainjob\.location"):
        go(bench, changed(bench[0], location=""))
    assert cluster.requests == []


def test_storage_that_cant_be_reached_is_said_before_a_job_is_made(cluster, bench, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="s3://"):
        go(bench)
    assert cluster.created == []


def test_storage_that_throttles_for_good_is_said_and_a_later_attempt_goes_through(
    cluster, bench, monkeypatch
):
    class Throttling(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told = b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>"
            self.send_response(503)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else told)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Throttling) as server, monkeypatch.context() as once:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        once.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(StorageError, match=r"SlowDown|503"):
            go(bench)
        server.shutdown()
    assert cluster.requests == []
    cluster.progress = succeeding(bench[1])
    go(bench)
    assert len(cluster.created) == 1


def test_what_lies_in_s3_is_gone_once_models_are_safe(cluster, bench, data):
    config, root = bench
    cluster.progress = succeeding(root)
    go(bench)
    store = open_store(config.distributed.trainjob.location)
    assert store.list()
    forget_job(root / "dataset", data.folds[0], config)
    assert store.list() == ()
