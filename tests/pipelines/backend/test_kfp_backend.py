"""Runs on a pipelines backend: the real `kfp.Client`, against a server that remembers."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from kfp_server import KfpServer
from typer.testing import CliRunner

from components.images import image
from pipelines.backend.calls import BackendError, NotFoundError
from pipelines.backend.connection import connect
from pipelines.backend.follow import follow
from pipelines.backend.identity import idempotency_key
from pipelines.backend.schedule import apply, diff
from pipelines.backend.step_resources import uploaded
from pipelines.backend.submit import Submitted, submit
from pipelines.cli import app
from pipelines.compile import COMPILED, FOLDER
from pipelines.steps import NEEDS
from recommender.config import Config, load
from recommender.config.triggers import TriggersConfig
from recommender.errors import ConfigError, SourceError

SYNTHETIC = Path(__file__).parents[3] / "configs" / "synthetic.yaml"
QUICK = {"backend.attempts": 3, "backend.pause_s": 0.01, "backend.poll_s": 0.01}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("OSTINATO_KFP_TOKEN", raising=False)
    with KfpServer() as running:
        yield running


def config_for(server: KfpServer, **settings: object) -> Config:
    return load(SYNTHETIC, {**QUICK, "backend.host": server.url, **settings})


def finish(server: KfpServer, run_id: str, state: str = "SUCCEEDED", **tasks: str) -> None:
    server.runs[run_id] |= {
        "state": state,
        "run_details": {
            "task_details": [
                {"display_name": name, "state": told, "start_time": f"2026-01-01T00:00:0{n}Z"}
                | ({"error": {"code": 2, "message": "out of memory"}} if told == "FAILED" else {})
                for n, (name, told) in enumerate(tasks.items())
            ]
        },
    }


# Submitting


def test_a_run_is_made_of_the_uploaded_pipeline_and_the_whole_configuration(server):
    config = config_for(server, **{"backend.service_account": "trainer"})
    run = submit(connect(config), config)
    made = server.runs[run.run_id]
    assert made["display_name"] == run.name == f"{config.name}-{idempotency_key(config)}"
    parameters = made["runtime_config"]["parameters"]
    # The workspace is the volume that all pods of the data set share, not the sender's folder.
    sent = Config.from_json(parameters["config"])
    assert sent == config.model_copy(update={"workspace": "/var/lib/ostinato"})
    assert parameters["workspace"] == f"{config.name}-workspace"
    assert parameters["run_id"] == run.name
    assert made["service_account"] == "trainer"
    assert server.experiments[made["experiment_id"]]["display_name"] == config.name
    assert len(server.versions) == 1
    assert run.created


def test_the_same_thing_is_one_run_however_often_it_is_submitted(server):
    config = config_for(server)
    first = submit(connect(config), config)
    again = submit(connect(config), config)
    assert (again.run_id, again.created) == (first.run_id, False)
    finish(server, first.run_id)
    assert submit(connect(config), config).created is False
    assert len(server.runs) == len(server.versions) == len(server.pipelines) == 1


@pytest.mark.parametrize("what", ["configuration", "data"])
def test_another_configuration_or_other_data_is_another_run(server, what):
    config = config_for(server)
    submit(connect(config), config, data="d-1")
    if what == "data":
        submit(connect(config), config, data="d-2")
    else:
        submit(connect(config), config_for(server, seed=8), data="d-1")
    assert len(server.runs) == 2


@pytest.mark.parametrize("state", ["FAILED", "CANCELED"])
def test_a_run_that_was_lost_does_not_stand_in_the_way_and_its_reports_stay_apart(server, state):
    config = config_for(server)
    lost = submit(connect(config), config)
    finish(server, lost.run_id, state)
    second = submit(connect(config), config)
    assert second.created
    names = [r["runtime_config"]["parameters"]["run_id"] for r in server.runs.values()]
    assert len(set(names)) == 2


def test_whoever_asks_for_it_gets_a_second_run(server):
    config = config_for(server)
    submit(connect(config), config)
    assert submit(connect(config), config, again=True).created
    assert len(server.runs) == 2


def test_many_who_submit_at_once_end_up_with_one_run(server):
    config = config_for(server)
    backends = [connect(config) for _ in range(6)]
    gate = threading.Barrier(6)

    def send(backend):
        gate.wait()
        return submit(backend, config).run_id

    with ThreadPoolExecutor(6) as pool:
        told = set(pool.map(send, backends))
    going = {run["run_id"] for run in server.runs.values() if run["state"] != "CANCELED"}
    assert told == going
    assert len(going) == 1


def test_an_answer_that_is_lost_makes_no_second_run(server):
    config = config_for(server)
    server.broken["POST /runs"] = ["lost"]
    run = submit(connect(config), config)
    assert list(server.runs) == [run.run_id]


@pytest.mark.parametrize("fault", [500, 503, 429])
def test_what_passes_is_waited_for(server, fault):
    config = config_for(server)
    for path in ("GET /experiments", "POST /pipelines/upload", "GET /runs", "POST /runs"):
        server.broken[path] = [fault]
    assert submit(connect(config), config).created
    assert len(server.runs) == 1


def test_what_does_not_pass_ends_after_a_bounded_number_of_attempts(server):
    config = config_for(server)
    server.broken["POST /runs"] = [503] * 9
    with pytest.raises(BackendError, match=r"start the run.*503") as told:
        submit(connect(config), config)
    assert "3 attempts" in told.value.hint
    assert server.calls.count("POST /runs") == 3
    assert not server.runs


@pytest.mark.parametrize("broken", ["/pipelines/upload", "/pipelines/upload_version", "/runs"])
def test_what_is_half_created_is_gone_on_with_by_the_same_command(server, broken):
    config = config_for(server)
    server.broken[f"POST {broken}"] = [503] * 3
    with pytest.raises(BackendError, match="503") as told:
        submit(connect(config), config)
    assert told.value.passing
    assert not server.runs
    assert submit(connect(config), config).created
    made = (server.experiments, server.pipelines, server.versions, server.runs)
    assert [len(each) for each in made] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("status", "words"), [(401, "OSTINATO_KFP_TOKEN"), (403, "backend.namespace"), (404, "host")]
)
def test_a_refusal_says_what_to_do_and_is_not_tried_again(server, status, words):
    config = config_for(server)
    server.broken["POST /runs"] = [status]
    with pytest.raises(BackendError, match=str(status)) as told:
        submit(connect(config), config)
    assert words in told.value.hint
    assert server.calls.count("POST /runs") == 1


def test_a_token_comes_from_the_environment_or_the_projected_file(server, monkeypatch, tmp_path):
    server.token = "right"
    config = config_for(server)
    with pytest.raises(BackendError, match="401"):
        submit(connect(config), config)
    (tmp_path / "token").write_text("right")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    projected = submit(connect(config), config)
    monkeypatch.setenv("OSTINATO_KFP_TOKEN", "right")
    monkeypatch.delenv("KF_PIPELINES_SA_TOKEN_PATH")
    assert submit(connect(config), config).run_id == projected.run_id
    assert "right" not in json.dumps(server.runs)


def test_a_projected_token_that_is_renewed_is_read_again(server, monkeypatch, tmp_path):
    server.token = "first"
    path = tmp_path / "token"
    path.write_text("first")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(path))
    config = config_for(server)
    backend = connect(config)
    run = submit(backend, config)
    path.write_text("second")
    server.token = "second"
    finish(server, run.run_id)
    assert follow(backend, run.run_id, lambda look: None).state == "SUCCEEDED"


def test_a_server_that_is_away_or_silent_is_told_as_such():
    import socket

    away = load(SYNTHETIC, {**QUICK, "backend.host": "http://127.0.0.1:9"})
    with pytest.raises(BackendError, match=r"ask for its health at http://127\.0\.0\.1:9"):
        connect(away)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = {**QUICK, "backend.attempts": 1, "backend.timeout_s": 0.2}
        with pytest.raises(BackendError, match=r"imed out|imeout"):
            connect(load(SYNTHETIC, {**settings, "backend.host": host}))


def test_the_source_s_files_are_part_of_a_run_s_identity(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user,item,time\n")
    tree = {
        "name": "shop",
        "source": {
            "kind": "mapped",
            "events": {
                "location": str(log),
                "columns": {"user": "user", "item": "item", "time": "time"},
                "types": {"rules": [{"event": "click"}]},
            },
            "items": {"columns": {"item": "item"}},
        },
        "actions": {"types": ["click"], "history": ["click"], "success": ["click"]},
    }
    config = Config.model_validate(tree)
    before = idempotency_key(config)
    assert idempotency_key(config) == before
    elsewhere = config.model_copy(update={"workspace": "/elsewhere"})
    assert idempotency_key(elsewhere) == before
    sooner = config.model_copy(update={"triggers": TriggersConfig(debounce_s=1)})
    assert idempotency_key(sooner) == before
    log.write_text("user,item,time\nu,i,1\n")
    assert idempotency_key(config) != before
    log.unlink()
    with pytest.raises(SourceError, match="nothing lies at"):
        idempotency_key(config)


def test_a_run_has_the_images_of_a_release_and_another_release_is_another_run(server):
    def release(digit: str) -> dict[str, str]:
        return {f"ostinato-{s}": f"registry.test/{s}@sha256:{digit * 64}" for s in NEEDS}

    def images_of(run: Submitted) -> set[str]:
        reference = server.runs[run.run_id]["pipeline_version_reference"]
        spec = server.specs[reference["pipeline_version_id"]]
        executors = spec["deploymentSpec"]["executors"].values()
        return {each["container"]["image"] for each in executors}

    runs = []
    for digit in "ab":
        config = config_for(server, **{"backend.images": release(digit)})
        runs.append(submit(connect(config), config))
        assert images_of(runs[-1]) == set(release(digit).values())
        assert not submit(connect(config), config).created
    plain = config_for(server)
    runs.append(submit(connect(plain), plain))
    assert images_of(runs[-1]) == {image(step) for step in NEEDS}
    assert len({run.name for run in runs}) == len(server.versions) == 3


@pytest.mark.parametrize(
    ("settings", "gpus"),
    [
        ({}, "1"),
        ({"distributed.launcher": "torchrun", "backend.train.gpus": 8}, "8"),
        # The step only follows the job: its nodes have the GPUs.
        ({"distributed.launcher": "trainjob"}, "0"),
    ],
    ids=["by default", "configured", "trainjob"],
)
def test_pods_that_train_get_what_is_configured(server, settings, gpus):
    plain = config_for(server)
    asked = {"backend.train.cpu": 6, "backend.train.memory": "64Gi", "backend.train.hours": 20}
    config = config_for(server, **asked, **settings)
    documents = list(yaml.safe_load_all(uploaded(COMPILED, config)))
    spec, platform = (
        document["deploymentSpec"]["executors"]
        for document in (documents[0], documents[1]["platforms"]["kubernetes"])
    )
    resources, pod = spec["exec-train"]["container"]["resources"], platform["exec-train"]
    assert (resources["resourceCpuRequest"], resources["resourceCpuLimit"]) == ("6", "12")
    assert resources["resourceMemoryRequest"] == resources["resourceMemoryLimit"] == "64Gi"
    assert resources.get("accelerator", {}).get("resourceCount", "0") == gpus
    assert bool(pod["tolerations"]) is (gpus != "0")
    assert pod["activeDeadlineSeconds"] == "72000"
    # All else is as compiled, and another version of the pipeline and another run by name.
    committed = list(yaml.safe_load_all(COMPILED.read_text()))
    for found in (documents, committed):
        executors = found[0]["deploymentSpec"]["executors"]
        executors["exec-train"]["container"].pop("resources")
        train = found[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
        train.pop("tolerations")
        train.pop("activeDeadlineSeconds")
    assert documents == committed
    assert idempotency_key(config) != idempotency_key(plain)
    run = submit(connect(config), config)
    reference = server.runs[run.run_id]["pipeline_version_reference"]
    sent = server.specs[reference["pipeline_version_id"]]
    assert sent["deploymentSpec"]["executors"]["exec-train"]["container"]["resources"] == resources
    # A refresh trains in its own pod, whatever the launcher.
    (refresh, _) = yaml.safe_load_all(uploaded(FOLDER / "refresh.yaml", config))
    (pods,) = [
        each["container"]["resources"]["accelerator"]
        for each in refresh["deploymentSpec"]["executors"].values()
        if "accelerator" in each["container"]["resources"]
    ]
    assert pods["resourceCount"] == ("8" if gpus == "8" else "1")


def test_without_settings_a_pipeline_is_uploaded_as_it_was_compiled(server):
    for package in FOLDER.glob("*.yaml"):
        assert uploaded(package, config_for(server)) == package.read_text()


def test_images_that_are_half_given_or_not_pinned_yet_are_refused(server):
    known = {f"ostinato-{s}": f"registry.test/{s}@sha256:{'a' * 64}" for s in NEEDS}
    few = {name: known[name] for name in known if name != "ostinato-train"}
    zeros = known | {"ostinato-train": "ostinato-train@sha256:" + 64 * "0"}
    for images, told in ((few, "lacks ostinato-train"), (zeros, "no digest yet")):
        config = config_for(server, **{"backend.images": images})
        with pytest.raises(ConfigError, match=told):
            submit(connect(config), config)
    assert server.runs == {}
    for wrong in ({"train": "x:1"}, {"ostinato-train": "no reference"}):
        with pytest.raises(ConfigError, match="images"):
            config_for(server, **{"backend.images": wrong})


# Following


def test_a_run_is_followed_to_its_end_and_every_change_is_shown(server):
    config = config_for(server)
    backend = connect(config)
    run = submit(backend, config)
    looks = []

    def later(_: float) -> None:
        finish(server, run.run_id, ingest="SUCCEEDED", train="SUCCEEDED")

    ended = follow(backend, run.run_id, looks.append, sleep=later)
    assert [look.state for look in looks] == ["PENDING", "SUCCEEDED"]
    assert list(ended.steps) == ["ingest", "train"]


def test_a_run_that_fails_names_the_step_and_its_reason(server):
    config = config_for(server)
    backend = connect(config)
    run = submit(backend, config)
    finish(server, run.run_id, "FAILED", ingest="SUCCEEDED", train="FAILED")
    with pytest.raises(BackendError, match="train: out of memory"):
        follow(backend, run.run_id, lambda look: None)


def test_a_run_that_is_deleted_while_it_is_followed_is_told_as_such(server):
    config = config_for(server)
    backend = connect(config)
    run = submit(backend, config)
    with pytest.raises(NotFoundError, match="somebody deleted it"):
        follow(backend, run.run_id, lambda look: None, sleep=lambda _: server.runs.clear())


def test_an_expired_token_ends_the_following_and_not_the_run(server, monkeypatch):
    server.token = "short-lived"
    monkeypatch.setenv("OSTINATO_KFP_TOKEN", "short-lived")
    config = config_for(server)
    backend = connect(config)
    run = submit(backend, config)

    def expire(_: float) -> None:
        server.token = "another"

    with pytest.raises(BackendError, match="401") as told:
        follow(backend, run.run_id, lambda look: None, sleep=expire)
    assert "fresh one" in told.value.hint
    assert server.runs[run.run_id]["state"] == "PENDING"


# Schedules

NIGHTLY = {"backend.schedules": {"nightly": {"cron": "0 30 2 * * *"}}}


def test_declared_schedules_are_made_changed_and_taken_away(server):
    config = config_for(server, **NIGHTLY)
    backend = connect(config)
    assert [c.doing for c in apply(backend, config)] == ["create"]
    assert [c.doing for c in diff(backend, config)] == ["keep"]
    assert apply(backend, config) == []
    (made,) = server.recurring.values()
    assert made["trigger"]["cron_schedule"]["cron"] == "0 30 2 * * *"
    assert made["no_catchup"] is True
    assert "[[ScheduledTime]]" in made["runtime_config"]["parameters"]["run_id"]

    slower = {"nightly": {"cron": "0 0 3 * * *", "settings": {"training.epochs": 2}}}
    changed = config_for(server, **{"backend.schedules": slower})
    assert [c.doing for c in apply(backend, changed)] == ["replace"]
    (made,) = server.recurring.values()
    assert Config.from_json(made["runtime_config"]["parameters"]["config"]).training.epochs == 2

    assert [c.doing for c in apply(backend, config_for(server))] == ["delete"]
    assert not server.recurring


def test_what_others_scheduled_is_left_alone(server):
    config = config_for(server, **NIGHTLY)
    backend = connect(config)
    apply(backend, config)
    (ours,) = list(server.recurring.values())
    server.recurring["theirs"] = {**ours, "display_name": "report", "recurring_run_id": "theirs"}
    apply(backend, config_for(server))
    assert list(server.recurring) == ["theirs"]


def test_broken_off_between_making_and_deleting_it_is_finished_by_the_next_call(server):
    config = config_for(server, **NIGHTLY)
    backend = connect(config)
    apply(backend, config)
    (old,) = server.recurring
    changed = config_for(server, **{"backend.schedules": {"nightly": {"cron": "0 0 3 * * *"}}})
    server.broken[f"DELETE /recurringruns/{old}"] = [403]
    with pytest.raises(BackendError, match="403"):
        apply(backend, changed)
    assert len(server.recurring) == 2
    assert [c.doing for c in apply(backend, changed)] == ["replace"]
    assert old not in server.recurring
    assert [c.doing for c in diff(backend, changed)] == ["keep"]


@pytest.mark.parametrize(
    ("cron", "words"),
    [("30 2 * * *", "5 fields"), ("0 75 2 * * *", "no minute"), ("0 0 2 * * $", "day of the week")],
)
def test_a_wrong_cron_is_found_before_it_is_sent(cron, words):
    with pytest.raises(ConfigError, match=words):
        load(SYNTHETIC, {"backend.schedules": {"nightly": {"cron": cron}}})


def test_an_unknown_setting_of_a_schedule_is_named(server):
    broken = {"nightly": {"cron": "0 0 3 * * *", "settings": {"training.epoch": 2}}}
    config = config_for(server, **{"backend.schedules": broken})
    with pytest.raises(ConfigError, match=r"training\.epoch"):
        diff(connect(config), config)


# The command


def test_the_command_submits_follows_and_tells(server, tmp_path):
    path = tmp_path / "config.yaml"
    tree = yaml.safe_load(SYNTHETIC.read_text())
    tree["backend"] = {"poll_s": 0.01}
    path.write_text(yaml.safe_dump(tree))
    words = ["submit", "-c", str(path), "--host", server.url, "--no-wait", "--json"]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    run = json.loads(told.stdout)
    finish(server, run["run_id"], ingest="SUCCEEDED")
    told = CliRunner().invoke(app, ["submit", "-c", str(path), "--host", server.url])
    assert "not run again" in told.stdout
    assert "ingest" in told.stdout
    assert "succeeded" in told.stdout
