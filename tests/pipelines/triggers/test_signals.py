"""What is noticed without anybody's telling: changed sources, drift, worse quality."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import boto3
import botocore.client
import numpy as np
import pyarrow as pa
import pytest

from pipelines.run import alone
from pipelines.triggers.book import UNREFRESHED, TriggeredRun
from pipelines.triggers.cause import Cause, Kind
from pipelines.triggers.door import NoSuchDataError
from pipelines.triggers.places import BusyError, Here
from pipelines.triggers.signals import drifted, look, loss, source_state
from recommender.config import Config
from recommender.config.triggers import QualityTrigger
from recommender.features.build import catalogue_order, history_log
from recommender.features.expectations.profile import Profile, ViewProfile
from recommender.features.expectations.profile import accept as accept_features
from recommender.features.snapshots import sequences, up_to_now
from recommender.quality.accepted import Accepted, accept
from recommender.quality.statistics import Statistics
from recommender.sources.versions import ingest
from recommender.tables import TIME, Tables

DAY_MS = 86_400_000
START = 1_760_000_000_000


def shop(tmp_path, rows: list[tuple[str, str, int]]) -> Config:
    log = tmp_path / "log.csv"
    lines = "".join(f"{u},{i},{t}\n" for u, i, t in rows)
    log.write_text("user,item,time\n" + lines)
    return Config.model_validate(
        {
            "name": "shop",
            "workspace": str(tmp_path / "state"),
            "source": {
                "kind": "mapped",
                "events": {
                    "location": str(log),
                    "columns": {"user": "user", "item": "item", "time": "time"},
                    "time": {"unit": "ms"},
                    "types": {"rules": [{"event": "click"}]},
                },
                "items": {"columns": {"item": "item", "title": "item"}},
            },
            "actions": {"types": ["click"], "history": ["click"], "success": ["click"]},
        }
    )


def clicks(items: list[str], count: int = 600) -> list[tuple[str, str, int]]:
    return [(f"u{n % 40}", items[n % len(items)], START + n * 60_000) for n in range(count)]


def accepted(config: Config) -> None:
    version = ingest(config)
    statistics = Statistics.of(Tables.read(version.folder), config.actions)
    accept(config.paths.data, Accepted(version.name, "2026-01-01T00:00:00+00:00", statistics))


def features_accepted(config: Config) -> None:
    """Keep the features' profile as materialize does."""
    version = ingest(config)
    tables = Tables.read(version.folder)
    log, as_of = history_log(tables, config, event_ids=True), up_to_now(tables)
    items = catalogue_order(tables.items)["item_id"]
    table = sequences(log, items, config.actions.types, as_of, config.features.history_limit)
    view = ViewProfile.of("user_sequence", table, as_of, config.features.expectations.bins)
    made = Profile(version.name, version.name, as_of, "2026-01-01", {"user_sequence": view})
    accept_features(config.paths.features, made)


def test_users_who_do_more_than_those_of_the_accepted_features_are_drift(tmp_path):
    config = shop(tmp_path, clicks(["a", "b", "c", "d"]))
    accepted(config)
    features_accepted(config)
    figures: dict = {}
    # The same users, items and shares; each does eight times as much.
    moved = shop(tmp_path, clicks(["a", "b", "c", "d"], 4800))
    (cause,) = drifted(moved, figures.update)
    value, limit = figures["user_sequence: events (stability index)"]
    assert value > limit == config.triggers.drift.features
    assert "user_sequence: events" in cause.why


def test_a_source_that_changes_is_another_cause_and_one_that_stays_is_not(tmp_path):
    config = shop(tmp_path, clicks(["a", "b"]))
    first = source_state(config)
    assert source_state(config) == first
    changed = shop(tmp_path, clicks(["a", "b"], 601))
    assert source_state(changed).id != first.id


def test_popularity_that_moves_is_noticed_once_and_more_of_the_same_is_not(tmp_path):
    config = shop(tmp_path, clicks(["a", "b", "c", "d"]))
    assert drifted(config) == []
    accepted(config)
    assert drifted(config) == []
    same = shop(tmp_path, clicks(["a", "b", "c", "d"], 800))
    assert drifted(same) == []
    moved = shop(tmp_path, clicks(["a", "b", "c", "d"]) + clicks(["e", "f"], 5000))
    figures: dict = {}
    (cause,) = drifted(moved, figures.update)
    value, limit = figures["popularity (Jensen–Shannon distance)"]
    assert value > limit == 0.3
    assert cause.kind is Kind.DRIFT
    assert "popularity" in cause.why
    assert drifted(moved) == [cause]


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (Cause("1", Kind.LANDED, "w", data_version="d-000000000000"), "no data version"),
        (Cause("1", Kind.ASKED, "w", data_version="../../keys"), "no data version"),
        (Cause("1", Kind.ASKED, "w", data_version=".."), "no data version"),
        (Cause("1", Kind.LANDED, "w", location="s3://else/where.csv"), "not part of the source"),
    ],
)
def test_an_event_about_data_that_are_not_there_is_refused(tmp_path, cause, words):
    config = shop(tmp_path, clicks(["a"]))
    ingest(config)
    with pytest.raises(NoSuchDataError, match=words):
        look([cause], config)


def test_an_event_about_our_own_data_is_taken_unless_they_are_gone(tmp_path):
    config = shop(tmp_path, clicks(["a"]))
    location = str(tmp_path / "log.csv")
    look([Cause("1", Kind.LANDED, "w", location=location)], config)
    look([Cause("1", Kind.LANDED, "w", data_version=ingest(config).name)], config)
    (tmp_path / "log.csv").unlink()
    with pytest.raises(NoSuchDataError, match="nothing lies at"):
        look([Cause("1", Kind.LANDED, "w", location=location)], config)


def test_many_files_that_landed_are_one_listing_of_the_source(tmp_path, s3_bucket, monkeypatch):
    config = shop(tmp_path, [])
    lake = f"s3://{s3_bucket}/raw"
    events = config.source.events.model_copy(update={"location": lake})
    source = config.source.model_copy(update={"events": events})
    config = config.model_copy(update={"source": source})
    boto3.client("s3").put_object(Bucket=s3_bucket, Key="raw/0.csv", Body=b"user,item,time\n")
    asked: list[str] = []
    call = botocore.client.BaseClient._make_api_call

    def noted(client, operation, given):
        asked.append(operation)
        return call(client, operation, given)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", noted)
    causes = [Cause(f"{n}", Kind.LANDED, "w", location=f"{lake}/{n}.csv") for n in range(200)]
    look(causes, config)
    assert asked.count("ListObjectsV2") == 1
    assert len(asked) < 5
    with pytest.raises(NoSuchDataError, match="else is not part of the source"):
        look([*causes, Cause("x", Kind.LANDED, "w", location="s3://else")], config)


def lists(rate_before: float, rate_now: float, users: int, seed: int) -> pa.Table:
    """Return four lists of each user before, and two now; users differ in how much they take."""
    random = np.random.default_rng(seed)
    taste = random.beta(4, 4, users) * 2
    rows = []
    for number, rate, first, days in ((4, rate_before, 0, 14), (2, rate_now, 14, 3)):
        for user in range(users):
            for _ in range(number):
                moment = START + int((first + random.random() * days) * DAY_MS)
                rows.append((f"u{user}", moment, bool(random.random() < rate * taste[user])))
    return pa.table(
        {
            "user": [row[0] for row in rows],
            "request_id": [f"r{number}" for number in range(len(rows))],
            "time": pa.array([row[1] for row in rows], pa.int64()).cast(TIME),
            "rewarded": [row[2] for row in rows],
        }
    )


END = START + 17 * DAY_MS
QUALITY = QualityTrigger(minimum_users=200)


def test_a_loss_that_is_large_is_shown_with_its_numbers():
    told = loss(lists(0.4, 0.25, 1000, seed=1), END, QUALITY)
    assert told is not None
    assert "fell from 0.40" in told or "fell from 0.39" in told or "fell from 0.41" in told
    assert "1,000 people" in told


def test_chance_alone_hardly_ever_looks_like_a_loss():
    alarms = [loss(lists(0.4, 0.4, 400, seed), END, QUALITY) for seed in range(40)]
    assert sum(alarm is not None for alarm in alarms) == 0


def test_with_too_few_people_nothing_is_said():
    assert loss(lists(0.4, 0.0, 150, seed=2), END, QUALITY) is None
    told = loss(lists(0.4, 0.0, 400, seed=2), END, QUALITY)
    assert told is not None
    assert "nobody" in told


def test_a_run_waits_for_another_one_that_is_at_work_in_the_workspace(tmp_path):
    config = shop(tmp_path, clicks(["a"]))
    with alone(config.paths.root), pytest.raises(BusyError, match="another run is at work") as told:
        Here(config).start(TriggeredRun("r", 0, "STARTING", "", ()))
    assert told.value.passing
    assert not config.paths.run("r").exists()


def test_a_process_that_is_gone_without_a_word_has_crashed(tmp_path):
    config = shop(tmp_path, clicks(["a"]))
    run = TriggeredRun("r", datetime.now(UTC).timestamp(), "RUNNING", "999999999", ())
    assert Here(config).outcome(run)[0] == "CRASHED"


@pytest.mark.parametrize(
    ("pipeline", "step", "state"),
    [
        ("refresh", "champion", UNREFRESHED),
        ("refresh", "refresh", UNREFRESHED),
        ("refresh", "validate", "FAILED"),
        ("training", "train", "FAILED"),
    ],
)
def test_only_what_a_refresh_alone_does_can_be_done_by_a_training(tmp_path, pipeline, step, state):
    config = shop(tmp_path, clicks(["a"]))
    told = {"state": "FAILED", "error": "why", "failed_step": step}
    folder = config.paths.run("r")
    folder.mkdir(parents=True)
    (folder / "outcome.json").write_text(json.dumps(told))
    run = TriggeredRun("r", 0, "RUNNING", "999999999", (), pipeline=pipeline)
    assert Here(config).outcome(run) == (state, "why")
