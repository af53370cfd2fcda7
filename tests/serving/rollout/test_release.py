"""Whole rollouts with real KServe processes, the real router, Feast and the registry.

The tests of this module tell one story and run in order. In the default run `test_whole_way.py`
goes the first way of it, from popularity to a promoted champion.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from feature_repo.online import OnlineFeatures
from recommender.errors import UserError
from recommender.features.snapshots import up_to_now
from recommender.files import read_json
from recommender.registry import Status
from serving import endpoint, launch, processes, routes
from serving.rollout import report
from serving.rollout.records import Journal
from serving.rollout.release import Outcome, release, rollouts_of
from serving.rollout.state import Phase

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow
SCRIPT = """
import sys
from pathlib import Path
from recommender.config import load
from recommender.tables import Tables
from serving.rollout.release import release
config = load(Path(sys.argv[1]))
release(config, Tables.read(Path(sys.argv[2])), "d-0123456789ab", sys.argv[3], sys.argv[4])
"""


@pytest.fixture(scope="module")
def shop(make_shop):
    return make_shop(concurrency=2)


@pytest.fixture(scope="module")
def better(shop):
    """A model that knows what will be wanted."""
    return shop.register(shop.counts(future=True), "run-better")


@pytest.fixture(scope="module")
def first(shop, better):
    return release(shop.config, shop.tables, "d-0123456789ab", better, "run-better")


def released(shop, version, run_id="run"):
    return release(shop.config, shop.tables, "d-0123456789ab", version, run_id)


def live_server(shop):
    """Return the process that people are served from."""
    (arm,) = routes.read(launch.routes_path(shop.config.paths)).live
    return next(s for s in processes.running(shop.config.paths) if s.url == arm.url)


def live_as_of(shop, user):
    with OnlineFeatures(shop.config.paths, "shop") as features:
        return features.user_history(user).as_of_ms


@contextmanager
def people_asking(shop):
    """Ask the live endpoint all the while; yield a count of the answers by version or error."""
    answers = Counter()
    over = threading.Event()
    users = shop.log.users[:20]
    url = f"{endpoint.ensure_router(shop.config)}/v1/models/ostinato:predict"

    def ask():
        with httpx.Client(timeout=20, trust_env=False) as client:
            while not over.is_set():
                user = users[sum(answers.values()) % len(users)]
                try:
                    told = client.post(url, json={"instances": [{"user_id": user, "k": 3}]})
                    answers[told.json()["predictions"][0]["model_version"]] += 1
                except Exception as error:  # noqa: BLE001 whatever it is, it must not happen
                    answers[repr(error)] += 1
                time.sleep(0.05)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()


def test_where_nothing_is_served_popularity_goes_first_and_a_better_model_takes_its_place(
    shop, first, better
):
    assert first.outcome is Outcome.PROMOTED
    assert first.champion == better == shop.registry.champion()
    assert [told["percent"] for told in first.rollout.analyses] == [5, 25, 50, 100]
    stable = first.rollout.stable
    assert shop.registry.decisions(stable)[-1].status is Status.BASELINE
    assert shop.registry.lineage(stable).data_version == "d-0123456789ab"
    # What people get: the new model, on features that are up to now.
    user = first.users[0].user_id
    answer = endpoint.ask(shop.config, user, 5)
    assert answer["model_version"] == better
    assert answer["fallback"] is None
    assert answer["history"] == min(len(shop.times(user)), 20)
    assert live_as_of(shop, user) == up_to_now(shop.tables)


def test_after_a_promotion_only_the_router_and_the_live_server_run(shop, first):
    servers = processes.running(shop.config.paths)
    assert sorted(server.kind for server in servers) == ["model", "router"]
    assert routes.read(launch.routes_path(shop.config.paths)).rehearsal == ()


def test_the_rehearsal_saw_the_features_of_the_cut_and_every_user_once(shop, first):
    records = rollouts_of(shop.config).journal(first.rollout).read()
    assert len(records) == len(first.users) == len({record.user for record in records})
    assert not any(record.failed for record in records)
    names = {user.user_id for user in first.users}
    assert not any(record.user in names for record in records), "pseudonyms only"
    with OnlineFeatures(shop.config.paths, "shop_rehearsal") as features:
        for history in features.user_histories(sorted(names)):
            assert history is None or history.as_of_ms == shop.fold.test_start
    without = {u.pseudonym for u in first.users if shop.times(u.user_id).min() >= u.time}
    assert {r.user for r in records if r.fallback} == without


def test_the_report_of_a_real_rollout_is_one_file_that_asks_for_nothing(shop, first):
    records = rollouts_of(shop.config).journal(first.rollout).read()
    page = report.render(first.rollout, records, shop.config)
    assert "Promoted" in page
    assert all(word not in page for word in ("http://", "https://", "<script", "src="))
    # Both arms' hits, errors, latency and memory.
    assert page.count("<polyline") == 2 * 4
    assert "nan" not in page


def test_a_worse_candidate_is_rolled_back_and_people_notice_nothing(shop, first, better):
    before, user = live_server(shop), first.users[0].user_id
    worse = shop.register(-shop.counts(future=True), "run-worse")
    with people_asking(shop) as answers:
        ended = released(shop, worse, "run-worse")
    assert ended.outcome is Outcome.ROLLED_BACK
    assert "worse" in ended.reason
    assert ended.champion == better == shop.registry.champion()
    assert shop.registry.candidate() is None
    assert set(answers) == {better}
    assert answers[better] > 20
    assert live_server(shop) == before
    assert len(processes.running(shop.config.paths)) == 2
    assert live_as_of(shop, user) == up_to_now(shop.tables)


def cut_weights(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-40])


def forge_signature(folder):
    path = folder / "model.sig"
    text = path.read_text()
    at = text.index('"sig"') + 12
    path.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])


@pytest.mark.parametrize(
    ("spoil", "words"), [(cut_weights, "weights.safetensors"), (forge_signature, "trusted key")]
)
def test_a_candidate_that_was_tampered_with_never_runs(shop, first, better, spoil, words):
    before = processes.running(shop.config.paths)
    history = 30 + len(spoil.__name__)  # another version each
    version = shop.register(shop.counts(future=True), f"run-{spoil.__name__}", history)
    spoil(shop.stored(version))
    ended = released(shop, version)
    assert ended.outcome is Outcome.ROLLED_BACK
    assert words in ended.reason
    assert shop.registry.champion() == better
    assert processes.running(shop.config.paths) == before


def test_a_candidate_that_crashes_at_load_is_rolled_back_with_its_last_words(shop, first, better):
    before = processes.running(shop.config.paths)
    broken = shop.register(shop.counts(future=True), "run-crash", spoil=cut_weights)
    ended = released(shop, broken)
    assert ended.outcome is Outcome.ROLLED_BACK
    assert "ended with exit code 1" in ended.reason
    assert "is not a readable model" in ended.reason
    assert shop.registry.champion() == better
    assert processes.running(shop.config.paths) == before


def wait_for(condition, timeout_s=60):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def watched(shop, version):
    """Return the records of the users who were replayed in the rollout of a version."""
    found = rollouts_of(shop.config).folder.glob(f"*-{version}/records.jsonl")
    return [record for path in found for record in Journal(path).read()]


def test_a_candidate_that_dies_under_way_is_rolled_back(shop, first, better):
    doomed = shop.register(shop.counts(future=True), "run-doomed", history=21)

    def kill():
        wait_for(lambda: watched(shop, doomed))
        record = shop.config.paths.serving / "processes" / f"shop_rehearsal-{doomed}.json"
        os.kill(read_json(record)["pid"], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    ended = released(shop, doomed)
    thread.join()
    assert ended.outcome is Outcome.ROLLED_BACK
    assert "has ended while it was being served" in ended.reason or "failed" in ended.reason
    assert shop.registry.champion() == better
    assert len(processes.running(shop.config.paths)) == 2


def test_killed_and_started_again_it_goes_on_and_people_notice_nothing(
    shop, first, better, tmp_path
):
    """First Ctrl-C, then SIGKILL, each in the middle of the steps; then to the end."""
    config = tmp_path / "config.yaml"
    config.write_text(shop.config.to_json())
    fresh = shop.register(shop.counts(future=True), "run-fresh", history=22)
    before = live_server(shop)

    def start_and_stop(sent, users):
        """Stop the process at the first portion after so many users."""
        words = [str(config), str(shop.clean), fresh, "run-fresh"]
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *words], cwd=ROOT, stderr=subprocess.DEVNULL
        ) as process:
            wait_for(lambda: len(watched(shop, fresh)) > users or process.poll() is not None)
            process.send_signal(sent)
            process.wait(60)
        return watched(shop, fresh)

    with people_asking(shop) as answers:
        interrupted = start_and_stop(signal.SIGINT, 0)
        assert processes.running(shop.config.paths)[-1].kind == "model"
        assert len(processes.running(shop.config.paths)) == 2, "Ctrl-C leaves no arm behind"
        killed = start_and_stop(signal.SIGKILL, len(interrupted))
        assert len(processes.running(shop.config.paths)) == 4, "a kill leaves the arms as they were"
        assert shop.registry.champion() == better
        assert live_server(shop) == before
        assert set(answers) == {better}
        ended = released(shop, fresh, "run-fresh")
    assert 0 < len(interrupted) < len(killed) < len(first.users)
    assert ended.outcome is Outcome.PROMOTED
    assert ended.champion == fresh == shop.registry.champion()
    assert watched(shop, fresh)[: len(killed)] == killed, "what was seen before still counts"
    mine = [state for state in rollouts_of(shop.config).all() if state.candidate == fresh]
    assert [state.phase for state in mine] == [Phase.PROMOTED], "it went on, not anew"
    assert set(answers) == {better, fresh}, "not one request was lost"
    assert len(processes.running(shop.config.paths)) == 2


def test_the_champion_again_changes_nothing_and_is_served_again_after_a_reboot(shop, first):
    champion = shop.registry.champion()
    processes.stop_all(shop.config.paths)
    rollouts = len(rollouts_of(shop.config).all())
    ended = released(shop, champion)
    assert ended.outcome is Outcome.UNCHANGED
    assert ended.rollout is None
    assert len(rollouts_of(shop.config).all()) == rollouts
    user = ended.users[0].user_id
    assert endpoint.ask(shop.config, user, 3)["model_version"] == champion
    assert live_as_of(shop, user) == up_to_now(shop.tables)


def test_while_one_rollout_is_driven_another_one_waits_for_its_turn(shop, first):
    with (
        rollouts_of(shop.config).locked(),
        pytest.raises(UserError, match="another process drives a rollout"),
    ):
        released(shop, shop.registry.champion())
