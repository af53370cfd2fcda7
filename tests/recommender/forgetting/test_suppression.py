"""Whoever asked to be forgotten doesn't come back with the source."""

from __future__ import annotations

import csv

import boto3
import pyarrow as pa
import pytest
from tables_by_hand import configuration, tables

from recommender.errors import ConfigError, StorageError
from recommender.forgetting.suppression import REASON, Suppressions
from recommender.privacy import VARIABLE, pseudonyms
from recommender.sources.report import IngestReport
from recommender.sources.versions import ingest
from recommender.tables import Tables

SYNTHETIC = {"kind": "synthetic", "users": 8, "items": 10, "days": 10, "sessions_per_user": 2}
MAPPED_COLUMNS = {"user": "who", "item": "what", "time": "when"}


def rows(count: int) -> list[list[str]]:
    return [[str(n % 12), f"i{n % 5}", f"2024-01-{n % 27 + 1:02d}T10:00:00Z"] for n in range(count)]


def mapped(workspace, location: str):
    return configuration(
        workspace,
        actions={"types": ["view"], "history": ["view"], "success": ["view"]},
        source={
            "kind": "mapped",
            "events": {
                "location": location,
                "columns": MAPPED_COLUMNS,
                "types": {"rules": [{"event": "view"}]},
            },
            "items": {"columns": {"item": "what"}},
        },
    )


def write_csv(path, count=60):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["who", "what", "when"], *rows(count)])


def test_a_list_remembers_pseudonyms_only(tmp_path):
    paths = configuration(tmp_path).paths
    listed = Suppressions(paths)
    assert not listed.is_suppressed("u1")
    assert not paths.keys.exists(), "asking an empty list makes no key"
    assert listed.add("u1")
    assert not listed.add("u1")
    assert listed.is_suppressed("u1")
    assert "u1" in listed
    assert not listed.is_suppressed("u10")
    content = (paths.privacy / "suppressed.json").read_text()
    assert "u1" not in content.replace(pseudonyms(paths.keys).of("u1"), "")


def test_a_list_that_is_open_follows_changes_of_another_process(tmp_path):
    paths = configuration(tmp_path).paths
    old, new = Suppressions(paths), Suppressions(paths)
    assert old.digest == ""
    new.add("u7")
    assert old.is_suppressed("u7")
    assert old.digest == new.digest != ""


def test_another_key_can_not_read_the_list_and_says_so(tmp_path, monkeypatch):
    paths = configuration(tmp_path).paths
    Suppressions(paths).add("u1")
    monkeypatch.setenv(VARIABLE, "another key of the installation")
    with pytest.raises(ConfigError, match="another pseudonym key"):
        Suppressions(paths).is_suppressed("u1")


@pytest.mark.parametrize("content", ["[]", "{", '{"format": 1, "suppressed": {}}', '{"format": 9}'])
def test_a_damaged_list_stops_everything(tmp_path, content):
    paths = configuration(tmp_path).paths
    paths.privacy.mkdir(parents=True)
    (paths.privacy / "suppressed.json").write_text(content)
    with pytest.raises(StorageError):
        Suppressions(paths).is_suppressed("u1")


def test_tables_lose_exactly_the_listed_users(tmp_path):
    who = [("u1", "a"), ("u10", "a"), ("u1", "b"), ("42", "b")]
    whole = tables([(user, item, "click", n, None, None) for n, (user, item) in enumerate(who)])
    listed = Suppressions(configuration(tmp_path).paths)
    listed.add("u1")
    report = IngestReport(rows_kept={"events": 4, "users": 3})
    left = listed.kept_out(whole, report)
    assert left.events["user_id"].to_pylist() == ["u10", "42"]
    assert left.users["user_id"].to_pylist() == ["42", "u10"]
    assert left.items.equals(whole.items)
    assert [(d.table, d.reason, d.count) for d in report.dropped] == [
        ("events", REASON, 2),
        ("users", REASON, 1),
    ]
    assert report.rows_kept == {"events": 2, "users": 2}


def test_rows_without_a_user_are_left_to_validation(tmp_path):
    listed = Suppressions(configuration(tmp_path).paths)
    listed.add("u1")
    assert listed.among(pa.chunked_array([["u1", None, "u2"]])).to_pylist() == [True, False, False]


@pytest.mark.parametrize("kind", ["synthetic", "file"])
def test_a_listed_user_is_not_ingested_and_everybody_else_is_as_before(tmp_path, kind):
    if kind == "synthetic":
        config, user = configuration(tmp_path / "w", source=SYNTHETIC), "u00003"
    else:
        write_csv(tmp_path / "log.csv")
        config, user = mapped(tmp_path / "w", str(tmp_path / "log.csv")), "1"
    before = ingest(config)
    Suppressions(config.paths).add(user)
    after = ingest(config)
    assert after.name != before.name
    old, new = Tables.read(before.folder), Tables.read(after.folder)
    assert user in old.users["user_id"].to_pylist()
    for name in ("events", "users"):
        kept = [r for r in getattr(old, name).to_pylist() if r["user_id"] != user]
        assert getattr(new, name).to_pylist() == kept
    gone = old.events.num_rows - new.events.num_rows
    assert gone > 0
    assert [(d.table, d.count) for d in after.report.dropped] == [("events", gone), ("users", 1)]
    assert ingest(config).unchanged


def test_raw_copies_are_not_kept_once_somebody_is_on_the_list(tmp_path, s3_bucket):
    write_csv(tmp_path / "log.csv")
    boto3.client("s3").upload_file(str(tmp_path / "log.csv"), s3_bucket, "log.csv")
    config = mapped(tmp_path / "w", f"s3://{s3_bucket}/log.csv")
    ingest(config)
    assert list((config.paths.cache / "s3").rglob("log.csv"))
    Suppressions(config.paths).add("5")
    told = ingest(config)
    assert "5" not in Tables.read(told.folder).users["user_id"].to_pylist()
    assert not (config.paths.cache / "s3").exists()
    assert ingest(config).unchanged
    assert not (config.paths.cache / "s3").exists()
