"""Versions are immutable and whole; aliases move at once; in a folder and on S3 alike."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from registry_models import decision, lineage, save_model

from recommender.artifact import Model
from recommender.config import load
from recommender.errors import ArtifactError, RegistryError, StorageError
from recommender.registry import Registry, Status
from recommender.storage import open_store


def test_a_registered_model_is_fetched_verified_and_loads(registry: Registry, model: Path) -> None:
    version = registry.register(model, lineage(), decision())
    fetched = registry.fetch(version)
    assert fetched.name == version
    assert Model.load(fetched).titles == Model.load(model).titles
    for name in ("model.json", "weights.safetensors", "items.json"):
        assert (fetched / name).read_bytes() == (model / name).read_bytes()
    assert registry.lineage(version) == replace(
        lineage(), created=registry.lineage(version).created
    )
    assert registry.lineage(version).test_start == 2_000
    assert registry.versions() == (version,)
    assert registry.uri(version).endswith(f"/models/{version}")


def test_the_same_bytes_are_the_same_version_with_one_more_decision(
    registry: Registry, model: Path, tmp_path: Path
) -> None:
    first = registry.register(model, lineage("run-1"), decision("run-1"))
    again = registry.register(
        save_model(tmp_path / "twin"), lineage("run-2"), decision("run-2", Status.REJECTED)
    )
    other = registry.register(save_model(tmp_path / "other", 3), lineage(), decision())
    assert first == again != other
    assert registry.lineage(first).run_id == "run-1"
    told = registry.decisions(first)
    assert [d.status for d in told] == [Status.PASSED, Status.REJECTED]
    assert [d.lineage["run_id"] for d in told] == ["run-1", "run-2"]
    assert told[0].report == "runs/run-1/gate.html"


def test_a_retried_step_changes_nothing_but_a_changed_mind_is_refused(
    registry: Registry, model: Path
) -> None:
    version = registry.register(model, lineage(), decision())
    registry.register(model, lineage(), decision())
    assert len(registry.decisions(version)) == 1
    with pytest.raises(RegistryError, match=r"run-1 has recorded m-.* as passed"):
        registry.register(model, lineage(), decision(status=Status.REJECTED))
    assert registry.decisions(version)[0].status is Status.PASSED


def test_only_what_passed_becomes_candidate_and_only_that_champion(
    registry: Registry, model: Path, tmp_path: Path
) -> None:
    assert (registry.champion(), registry.candidate()) == (None, None)
    bad = registry.register(model, lineage(), decision(status=Status.REJECTED))
    assert registry.candidate() is None
    with pytest.raises(RegistryError, match=r"is rejected and can't become champion(.|\n)*gate"):
        registry.promote(bad)
    good = registry.register(save_model(tmp_path / "b", 1), lineage("r2"), decision("r2"))
    assert registry.candidate() == good
    registry.promote(good, run_id="r2", reason="canary passed", over=None)
    assert (registry.champion(), registry.candidate()) == (good, None)
    moves = registry.aliases().history
    assert [(m.alias, m.version, m.previous) for m in moves] == [
        ("candidate", good, None),
        ("champion", good, None),
        ("candidate", None, good),
    ]
    with pytest.raises(RegistryError, match="holds no version m-000000000000"):
        registry.promote("m-000000000000")
    with pytest.raises(RegistryError, match="is no version"):
        registry.fetch("../../etc")


def test_a_baseline_may_reign_and_a_candidate_may_be_withdrawn(
    registry: Registry, model: Path, tmp_path: Path
) -> None:
    base = registry.register(model, lineage(), decision(status=Status.BASELINE))
    registry.promote(base)
    better = registry.register(save_model(tmp_path / "b", 1), lineage("r2"), decision("r2"))
    registry.withdraw(base)
    assert registry.candidate() == better
    registry.withdraw(better, run_id="r2", reason="canary rolled back")
    assert (registry.champion(), registry.candidate()) == (base, None)
    assert registry.aliases().history[-1].reason == "canary rolled back"


def test_of_two_rollouts_that_beat_the_same_champion_one_wins(
    registry: Registry, tmp_path: Path
) -> None:
    champion, *rivals = (
        registry.register(save_model(tmp_path / str(n), n), lineage(f"r{n}"), decision(f"r{n}"))
        for n in range(5)
    )
    registry.promote(champion)

    def promote(version: str) -> str:
        try:
            registry.promote(version, over=champion)
        except RegistryError as error:
            return error.message
        return "won"

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(promote, rivals))
    assert told.count("won") == 1
    winner = rivals[told.index("won")]
    assert registry.champion() == winner
    assert all(f"{winner} has become champion since" in text for text in told if text != "won")


def test_concurrent_moves_are_all_in_the_history(registry: Registry, tmp_path: Path) -> None:
    versions = [
        registry.register(save_model(tmp_path / str(n), n), lineage(f"r{n}"), decision(f"r{n}"))
        for n in range(4)
    ]
    before = len(registry.aliases().history)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(registry.promote, versions))
    history = [move for move in registry.aliases().history if move.alias == "champion"]
    assert {move.version for move in history} == set(versions)
    # Each move starts from where the one before it ended: none was lost.
    assert [m.previous for m in history] == [None, *(m.version for m in history[:-1])]
    assert len(registry.aliases().history) > before


def test_runs_that_register_the_same_bytes_at_once_leave_one_good_version(
    registry: Registry, model: Path
) -> None:
    def register(number: int) -> str:
        return registry.register(model, lineage(f"run-{number}"), decision(f"run-{number}"))

    with ThreadPoolExecutor(4) as pool:
        versions = set(pool.map(register, range(4)))
    assert len(versions) == 1
    version = versions.pop()
    assert Model.load(registry.fetch(version)).history == 50
    assert len(registry.decisions(version)) == 4


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "lineage.json", "model.sig"])
def test_what_was_changed_in_the_store_is_named_on_fetch(
    registry: Registry, model: Path, name: str
) -> None:
    version = registry.register(model, lineage(), decision())
    store = open_store(registry.location)
    content = store.read_bytes(f"models/{version}/{name}")
    store.write_bytes(f"models/{version}/{name}", content[:-9] + b"x" + content[-8:])
    with pytest.raises(ArtifactError, match=re.escape(name)):
        registry.fetch(version)
    store.write_bytes(f"models/{version}/{name}", content)
    assert registry.fetch(version).name == version


def test_truncated_missing_and_extra_files_are_named_on_fetch(
    registry: Registry, model: Path
) -> None:
    version = registry.register(model, lineage(), decision())
    store, place = open_store(registry.location), f"models/{version}"
    weights = store.read_bytes(f"{place}/weights.safetensors")
    store.write_bytes(f"{place}/weights.safetensors", weights[:-4])
    with pytest.raises(ArtifactError, match=r"Hash mismatch for 'weights\.safetensors'"):
        registry.fetch(version)
    store.delete(f"{place}/weights.safetensors")
    with pytest.raises(ArtifactError, match=r"Missing files.*weights\.safetensors"):
        registry.fetch(version)
    store.write_bytes(f"{place}/weights.safetensors", weights)
    store.write_bytes(f"{place}/more.json", b"{}")
    with pytest.raises(ArtifactError, match=r"Extra files.*more\.json"):
        registry.fetch(version)
    store.delete(f"{place}/more.json")
    store.write_bytes(f"{place}/evil.pkl", b"cos\nsystem\n")
    with pytest.raises(ArtifactError, match=r"evil\.pkl"):
        registry.fetch(version)


def test_a_signed_model_in_the_place_of_another_is_refused(
    registry: Registry, model: Path, tmp_path: Path
) -> None:
    old = registry.register(model, lineage(), decision())
    new = registry.register(save_model(tmp_path / "new", 3), lineage("r2"), decision("r2"))
    store = open_store(registry.location)
    for entry in store.list(f"models/{old}"):
        target = entry.key.replace(old, new)
        store.write_bytes(target, store.read_bytes(entry.key))
    with pytest.raises(ArtifactError, match=f"it is {old}, not {new}"):
        registry.fetch(new)


def test_a_damaged_local_copy_is_fetched_again(registry: Registry, model: Path) -> None:
    version = registry.register(model, lineage(), decision())
    copy = registry.fetch(version)
    whole = (copy / "items.json").read_bytes()
    (copy / "items.json").write_bytes(whole[:50])
    assert (registry.fetch(version) / "items.json").read_bytes() == whole


def test_a_damaged_alias_document_is_named_and_left_alone(registry: Registry, model: Path) -> None:
    version = registry.register(model, lineage(), decision())
    store = open_store(registry.location)
    store.write_bytes("aliases.json", b'{"champion": ')
    with pytest.raises(RegistryError, match=r"aliases\.json is damaged"):
        registry.promote(version)
    assert store.read_bytes("aliases.json") == b'{"champion": '


def test_figures_that_json_has_no_word_for_are_refused_before_anything_is_stored(
    registry: Registry, model: Path
) -> None:
    with pytest.raises(RegistryError, match="lineage can't be written"):
        registry.register(model, replace(lineage(), metrics={"x": float("nan")}), decision())
    assert registry.versions() == ()


def test_a_bucket_needs_to_be_told_where_keys_lie() -> None:
    with pytest.raises(RegistryError, match="say where keys"):
        Registry.open("s3://bucket/models")


def test_a_registry_that_cannot_be_written_says_so(tmp_path: Path, model: Path) -> None:
    (tmp_path / "registry").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="registry"):
        Registry.open(tmp_path / "registry").register(model, lineage(), decision())


KILLED = """
import os, signal, sys
from pathlib import Path
from recommender.registry import Registry
from recommender.storage.local import FileStore
from registry_models import decision, lineage

class Dying(FileStore):
    '''A real store whose process is killed at the n-th write.'''
    left = 0
    def step(self):
        if Dying.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        Dying.left -= 1
    def write_bytes(self, key, data, **more):
        self.step()
        return super().write_bytes(key, data, **more)
    def upload(self, folder, prefix):
        for path in sorted(folder.iterdir()):
            self.step()
            super().upload(path, prefix)
        return ()

root = Path(sys.argv[1])
for writes in range(6):
    child = os.fork()
    if child == 0:
        Dying.left = writes
        registry = Registry(Dying(root / str(writes)), root / "keys", root / "cache")
        registry.register(root / "model", lineage(), decision())
        os._exit(0)
    print(writes, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_killed_upload_leaves_nothing_visible_and_can_be_done_again(
    model: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        check=True,
    )
    assert done.stdout.split() == [str(x) for n in range(6) for x in (n, -signal.SIGKILL)]
    for writes in range(6):
        registry = Registry.open(
            tmp_path / str(writes), keys=tmp_path / "keys", cache=tmp_path / "c"
        )
        assert registry.versions() == ()
        assert registry.candidate() is None
        version = registry.register(model, lineage("again"), decision("again"))
        assert Model.load(registry.fetch(version)).history == 50
        assert registry.candidate() == version


def test_a_configured_bucket_is_where_the_versions_lie(
    tmp_path: Path, model: Path, s3_bucket: str
) -> None:
    synthetic = Path(__file__).parents[3] / "configs" / "synthetic.yaml"
    location = f"s3://{s3_bucket}/models"
    settings = {"workspace": str(tmp_path / "here"), "registry.location": location}
    config = load(synthetic, settings)
    version = Registry.configured(config).register(model, lineage(), decision())
    Registry.configured(config).promote(version, run_id="r", reason="first")
    assert not (tmp_path / "here" / "registry").exists()
    there = Registry.configured(config)
    assert there.champion() == version
    assert there.uri(version) == f"{location}/models/{version}"
    assert (there.fetch(version) / "model.json").exists()
    at_home = Registry.configured(load(synthetic, {"workspace": str(tmp_path / "there")}))
    assert at_home.champion() is None
