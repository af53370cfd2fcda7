"""docs/operations.md: its commands exist, and no store and no secret is left out."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import typer
from rendered import OVERLAYS, ROOT

from pipelines.cli import app
from pipelines.steps import NEEDS

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
PUBLISH = "once.py prod publish"


def section(name: str, level: str = "##") -> str:
    found = re.search(
        rf"^{level} {name}\n(.*?)(?=^##? |^{level} |\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    assert found, name
    return found[1]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.lstrip().startswith("|")]
    table = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in lines]
    return [[cell.strip() for cell in row] for row in table if not set(row[0]) <= set("-: ")]


def test_every_command_that_is_named_exists():
    """With its subcommand and its options."""
    group = typer.main.get_command(app)
    named = set(re.findall(r"`ostinato ([a-z][^`\n]*)`", PAGE))
    assert len(named) > 8
    for words in named:
        command, rest = group, words.split()
        while rest and hasattr(command, "commands"):
            name = rest.pop(0)
            command = command.commands.get(name)
            assert command is not None, f"ostinato {words}"
        known = {option for each in command.params for option in each.opts}
        asked = {word.split("=")[0] for word in rest if word.startswith("-")}
        assert asked <= known, f"ostinato {words}"


def test_every_job_that_is_named_can_be_printed():
    named = set(re.findall(r"once\.py (\S+) (\S+)", PAGE))
    assert {what for _, what in named} == {"keys", "publish"}
    for environment, what in named:
        assert environment in OVERLAYS
        command = [sys.executable, ROOT / "infra" / "kustomize" / "once.py", environment, what]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_every_secret_and_each_of_its_keys_can_be_rotated():
    made = [row for row in rows(section("Install")) if row[0].startswith("`")]
    told = section("Rotate secrets")
    assert len(made) >= 8
    for cells in made:
        name = re.findall(r"`([\w-]+)`", cells[0])[0]
        # Variables and addresses stand in backquotes, too; a key is a bare word of small letters.
        keys = set(re.findall(r"`([a-z-]+)`", cells[1])) - set(NEEDS)
        (row, *more) = [" ".join(row) for row in rows(told) if f"`{name}`" in row[0]]
        for key in keys:
            assert f"`{key}`" in " ".join([row, *more]), f"{name}: {key}"


def test_every_store_can_be_restored():
    storage = (ROOT / "infra/terraform/modules/storage/main.tf").read_text()
    buckets = re.findall(r"^    (\w+)\s+= \{ old_versions", storage, re.MULTILINE)
    assert "registry" in buckets
    stores = [f"S3 `{bucket}`" for bucket in buckets]
    stores += ["Redis", "Feast's registry", "tuning.storage", "workspace", "event bus"]
    stores += ["KFP's database", "KFP's object store", "Terraform's state"]
    lost = rows(section("Restore"))
    for store in stores:
        (row,) = [row for row in lost if store in row[0]]
        assert all(len(cell) > 5 for cell in row), store
    for bucket, days in re.findall(r"(\w+)\s+= \{ old_versions = (\d+)", storage):
        (row,) = [row for row in lost if f"S3 `{bucket}`" in row[0]]
        assert f"({days} days)" in row[2], bucket
    # Of the folders of the workspace none is forgotten that nothing else makes again.
    (workspace,) = [row for row in lost if "workspace" in row[0]]
    for folder in ("keys/", "privacy/", "data/", "runs/", "checkpoints/", "tuning/"):
        assert folder in workspace[1]


@pytest.mark.parametrize(
    "alert", ["OstinatoWithoutHistory", "OstinatoFeaturesStale", "OstinatoFreshnessUnknown"]
)
def test_who_misses_live_features_is_sent_to_what_publishes_them(alert):
    """The step `materialize` publishes the rehearsal's."""
    assert PUBLISH in section(alert, "###")


def test_cost_is_told_for_each_volume_in_hours_of_gpus_and_with_dated_prices():
    cost = section("Cost and capacity")
    by_name = {row[0]: row[1:] for row in rows(cost)}
    (monthly,) = [cells for name, cells in by_name.items() if name.startswith("GPU-hours a month")]
    assert len(monthly) == 3
    assert re.search(r"assumed in \w+ 20\d\d", cost)
    money = rows(cost[cost.index("| $ a month") :])[1:]
    columns = [[float(cell.replace(",", "")) for cell in row[1:]] for row in money]
    *parts, together = columns
    for parted, total in zip(zip(*parts, strict=True), together, strict=True):
        assert sum(parted) == pytest.approx(total, rel=0.01)
