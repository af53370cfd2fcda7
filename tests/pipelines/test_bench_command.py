"""`ostinato bench`: a table of systems trained and measured alike, with nothing left behind."""

from __future__ import annotations

import json

import yaml
from typer.testing import CliRunner

from pipelines.cli import app

SHOP = {
    "name": "bench-shop",
    "source": {"kind": "synthetic", "users": 150, "items": 60},
    "actions": {"types": ["click", "purchase"], "exclude_seen": False},
    "features": {"text": {"threads": 1}},
    "evaluation": {"resamples": 100},
}


def config_in(folder) -> str:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**SHOP, "workspace": str(folder / "state")}))
    return str(path)


def test_rivals_are_compared_and_nothing_is_registered(tmp_path) -> None:
    out = tmp_path / "bench.json"
    words = ["bench", "popularity", "item-knn", "-c", config_in(tmp_path), "--out", str(out)]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert "item-knn" in told.output
    assert "NDCG@10" in told.output
    written = json.loads(out.read_text())
    assert [row["system"] for row in written["systems"]] == ["popularity", "item-knn"]
    assert written["users"] > 0
    assert written["requests"] >= written["users"]
    assert written["systems"][1]["first_minus_it"]["low"] is not None
    assert not (tmp_path / "state" / "registry").exists()


def test_an_unknown_system_is_named_with_those_there_are(tmp_path) -> None:
    told = CliRunner().invoke(app, ["bench", "oracle", "-c", config_in(tmp_path)])
    assert told.exit_code != 0
    assert "oracle" in str(told.exception)
    assert "item-knn" in str(told.exception.hint)


def test_rankers_of_shown_items_get_a_table_of_their_own(tmp_path) -> None:
    out = tmp_path / "bench.json"
    quick = ["--set", "evaluation.neural.epochs=1", "--set", "evaluation.neural.width=8"]
    words = ["bench", "popularity", "din", "-c", config_in(tmp_path), "--out", str(out), *quick]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert "AUC in users" in told.output
    written = json.loads(out.read_text())
    assert [row["system"] for row in written["systems"]] == ["popularity"]
    assert [row["system"] for row in written["shown"]] == ["din", "item alone"]
    assert 0 < written["shown"][0]["user_auc"] < 1
    assert written["shown"][0]["numbers"] > 0
    assert written["shown"][1]["first_minus_it"]["low"] is not None


def test_a_ranker_is_refused_where_all_events_are_of_one_type(tmp_path) -> None:
    types = ["--set", "actions.types=[purchase]"]
    words = ["bench", "unified", "xdeepfm", "-c", config_in(tmp_path), *types]
    told = CliRunner().invoke(app, words)
    assert told.exit_code != 0
    assert "xdeepfm" in str(told.exception)
    assert "leave xdeepfm out" in str(told.exception.hint)
