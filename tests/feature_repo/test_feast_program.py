"""`feast apply` and `feast materialize-incremental` work in the repository, as its users know."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tables_by_hand import tables

from feature_repo.environment import environment, main
from feature_repo.locations import online_db, registry_db
from feature_repo.online import OnlineFeatures
from feature_repo.store import open_store, project_name, publish

ROOT = Path(__file__).parents[2]
EVENTS = [("u1", "a", "click", 1_000), ("u1", "b", "purchase", 2_457), ("u2", "b", "click", 9_000)]


def feast(config, *arguments: str) -> str:
    # A time zone that is not UTC: neither the choice of rows nor their content may depend on it.
    ran = subprocess.run(
        [Path(sys.executable).with_name("feast"), "-c", "feature_repo", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment(config, "live"), "TZ": "Asia/Shanghai"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_program_applies_and_materializes_what_was_published_offline(config, read_with_sdk):
    publish(config, tables(EVENTS), 5_000, "live")
    before = sorted(path.name for path in (ROOT / "feature_repo").iterdir())
    # Only the offline snapshots are left.
    for path in (registry_db(config.paths), online_db(config.paths)):
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()

    feast(config, "apply")
    project = project_name(config, "live")
    store = open_store(config.paths, project)
    assert sorted(view.name for view in store.list_feature_views()) == [
        "item_attributes",
        "item_text",
        "user_profile",
        "user_sequence",
    ]
    assert {each.name for each in store.list_feature_services()} == {
        "unified_v1",
        "unified_v1_items",
    }
    assert sorted(each.name for each in store.list_entities()) == ["item", "user"]

    feast(config, "materialize-incremental", "2030-01-01T00:00:00")
    with OnlineFeatures(config.paths, project) as online:
        history = online.user_history("u1")
        assert (history.item_ids, history.times) == (("a", "b"), (1_000, 2_457))
        assert history.as_of_ms == 5_000
        assert online.user_history("u2") is None
        assert online.item_text("a").title == "thing a"
    assert read_with_sdk(config, project, "user_sequence", "user_id", ["u1"])[0]["item_ids"] == [
        "a",
        "b",
    ]
    assert sorted(path.name for path in (ROOT / "feature_repo").iterdir()) == before


def test_the_environment_is_printed_for_a_shell(tmp_path, capsys):
    path = tmp_path / "my shop.yaml"
    path.write_text(
        f"name: my-shop\nworkspace: {tmp_path}/it's here\nsource: {{kind: synthetic}}\n"
        "actions: {types: [buy]}\n"
    )
    assert main([str(path), "rehearsal"]) == 0
    shell = f'{capsys.readouterr().out}\necho "$OSTINATO_FEAST_PROJECT|$OSTINATO_FEATURES"'
    said = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout
    assert said == f"my_shop_rehearsal|{tmp_path}/it's here/features\n"


@pytest.mark.parametrize("arguments", [[], ["a", "sideways"], ["a", "live", "more"]])
def test_wrong_arguments_get_the_usage(arguments, capsys):
    assert main(arguments) == 2
    assert "Usage: " in capsys.readouterr().err


def test_a_wrong_configuration_is_said_on_the_error_stream(tmp_path, capsys):
    assert main([str(tmp_path / "none.yaml")]) == 1
    told = capsys.readouterr()
    assert (told.out, "does not exist" in told.err) == ("", True)
