"""The predictor in this process: what it refuses to load, and what it does without a store."""

from __future__ import annotations

import asyncio
import pickle
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kserve.errors import InvalidInput
from shop import CUT, START, Shop, model

from recommender.config.served_log import ServedLogConfig
from recommender.errors import ArtifactError, RegistryError, UserError
from recommender.features.sequences import Histories
from recommender.privacy import pseudonyms
from recommender.scoring import Floats
from recommender.served_store import store_of
from recommender.workspace import Workspace
from serving.history import StoreHistories
from serving.observing import Observing, Watch
from serving.predictor import Predictor
from serving.ranking import Ranker

PICKLE = pickle.dumps({"weights": [1.0, 2.0]})
ANN = {"instances": [{"user_id": "ann", "k": 2}]}


def predictor(shop: Shop, folder: Path | None = None, **change: Any) -> Predictor:
    paths: Workspace = change.get("paths", shop.config.paths)
    return Predictor(
        "ostinato",
        folder or shop.folder,
        change.get("version", shop.version),
        change.get("keys", shop.config.paths.keys),
        StoreHistories(paths, change.get("project", "by_hand")),
        change.get("deadline_s", 5.0),
        watch=change.get("watch"),
    )


def asked(loaded: Predictor, body: dict[str, Any] = ANN) -> dict[str, Any]:
    told = asyncio.run(loaded.predict(body))
    return told["predictions"][0]


def overwrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return act


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (overwrite("weights.safetensors", lambda b: b[:-4] + b"\0\0\0\1"), r"weights\.safetensors"),
        (overwrite("weights.safetensors", lambda b: b[:-4]), r"weights\.safetensors"),
        (
            overwrite("model.json", lambda b: b.replace(b"popularity", b"transforms")),
            r"model\.json",
        ),
        (overwrite("lineage.json", lambda b: b + b" "), r"lineage\.json"),
        (lambda folder: (folder / "items.json").unlink(), r"Missing files.*items\.json"),
        (lambda folder: (folder / "extra.json").write_text("{}"), r"Extra files.*extra\.json"),
        (lambda folder: (folder / "evil.pkl").write_text("x"), r"evil\.pkl"),
        (overwrite("weights.safetensors", lambda _: PICKLE), r"not begin as a safetensors file"),
        (overwrite("items.json", lambda _: PICKLE), r"not begin as a json file"),
        (lambda folder: (folder / "net.onnx").write_bytes(PICKLE), r"not begin as a onnx file"),
        (lambda folder: (folder / "more.parquet").write_bytes(b"PAR1"), "consists of"),
        (lambda folder: (folder / "model.sig").unlink(), "not signed"),
        (overwrite("model.sig", lambda b: b[:200]), r"model\.sig"),
    ],
    ids=[
        *("changed", "cut", "settings", "lineage", "missing", "extra", "pickle"),
        *("disguised weights", "disguised items", "disguised graph", "table", "unsigned", "sig"),
    ],
)
def test_a_model_that_is_not_what_was_signed_never_becomes_ready(
    shop: Shop, tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / shop.version
    shutil.copytree(shop.folder, folder)
    harm(folder)
    broken = predictor(shop, folder)
    with pytest.raises(ArtifactError, match=message):
        broken.load()
    broken.start()  # what KServe calls before it looks at `ready`
    assert broken.ready is False


def test_a_signed_model_under_another_name_or_without_a_trusted_key_is_refused(
    shop: Shop, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match=f"it is {shop.version}, not m-000000000000"):
        predictor(shop, version="m-000000000000").load()
    with pytest.raises(RegistryError, match="public key"):
        predictor(shop, keys=tmp_path).load()


def test_a_signed_model_that_does_not_load_is_refused(shop: Shop, tmp_path: Path) -> None:
    from recommender.registry.signing import sign

    folder = tmp_path / "model"
    model(shop.config).save(folder)
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace('"kind": "popularity"', '"kind": "item-knn"'))
    (folder / "model.sig").write_bytes(sign(folder, shop.config.paths.keys))
    broken = predictor(shop, folder, version=None)
    with pytest.raises(UserError):
        broken.load()
    assert broken.ready is False


def test_a_signed_model_that_reads_other_features_is_refused(shop: Shop, tmp_path: Path) -> None:
    from recommender.registry.signing import sign

    folder = tmp_path / "model"
    replace(model(shop.config), feature_service="unified_v9").save(folder)
    (folder / "model.sig").write_bytes(sign(folder, shop.config.paths.keys))
    broken = predictor(shop, folder, version=None)
    with pytest.raises(ArtifactError, match="'unified_v9', and this server reads 'unified_v1'"):
        broken.load()
    assert broken.ready is False


def test_a_server_that_starts_before_its_store_finds_it_later(shop: Shop, tmp_path: Path) -> None:
    paths = Workspace(tmp_path)
    loaded = predictor(shop, paths=paths)
    loaded.load()
    before = asked(loaded)
    assert before["fallback"] == "store_unavailable"
    assert [item["item_id"] for item in before["items"]] == ["i0", "i1"]
    shutil.copytree(shop.config.paths.features, paths.features)
    after = asked(loaded)
    assert (after["fallback"], after["history"]) == (None, 2)


def test_a_project_that_was_never_published_is_a_store_that_is_not_there(shop: Shop) -> None:
    loaded = predictor(shop, project="by_hand_canary")
    loaded.load()
    assert asked(loaded)["fallback"] == "store_unavailable"


def test_the_rehearsal_reads_features_as_of_the_cut_and_the_live_lane_does_not(shop: Shop) -> None:
    later = {"instances": [{"user_id": "dan", "k": 9, "time": CUT + 5 * 86_400_000}]}
    rehearsal, live = predictor(shop, project="by_hand_rehearsal"), predictor(shop)
    for one in (rehearsal, live):
        one.load()
    assert asked(rehearsal, later)["fallback"] == "unknown_user"
    assert asked(live, later)["history"] == 1


def test_a_store_that_hangs_costs_no_more_than_the_deadline(shop: Shop, tmp_path: Path) -> None:
    paths = Workspace(tmp_path)
    shutil.copytree(shop.config.paths.features, paths.features)
    with closing(sqlite3.connect(paths.features / "online.db")) as store:
        # Unlike the write-ahead mode of the real one, this mode lets a writer block readers.
        store.execute("PRAGMA journal_mode=DELETE")
    loaded = predictor(shop, paths=paths, deadline_s=0.3)
    loaded.load()
    assert asked(loaded)["fallback"] is None
    writer = sqlite3.connect(paths.features / "online.db", isolation_level=None)
    with closing(writer):
        writer.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        told = asked_without_waiting_for_threads(loaded)
        assert told["fallback"] == "store_unavailable"
        # SQLite itself would wait for ten seconds.
        assert time.monotonic() - started < 5
        writer.execute("ROLLBACK")
    assert asked(loaded)["fallback"] is None


def asked_without_waiting_for_threads(loaded: Predictor) -> dict[str, Any]:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(loaded.predict(ANN))["predictions"][0]
    finally:
        loop.close()


def test_the_event_loop_goes_on_while_a_model_computes(shop: Shop) -> None:
    probed = threading.Event()

    class Slow(type(model(shop.config).scorer)):  # type: ignore[misc]
        """Popularity that answers only after the event loop did something else."""

        def scores(self, histories: Histories) -> Floats:
            assert probed.wait(20), "the event loop stood still while the model computed"
            return super().scores(histories)

    made = model(shop.config)
    slow = type(made)(
        Slow(made.scorer.catalogue, made.scorer.weights()["counts"]),
        made.titles,
        made.actions,
        made.history,
    )
    loaded = predictor(shop)
    loaded.load()
    loaded._ranker = Ranker(slow)

    async def ask_and_probe() -> dict[str, Any]:
        asking = asyncio.create_task(loaded.predict(ANN))
        await asyncio.sleep(0.05)
        assert not asking.done()
        probed.set()
        return await asking

    assert asyncio.run(ask_and_probe())["predictions"][0]["history"] == 2


def test_times_are_now_unless_they_are_given(shop: Shop) -> None:
    loaded = predictor(shop)
    loaded.load()
    future = round(time.time() * 1000) + 86_400_000
    history = [
        {"item_id": "i0", "action": "click", "time": START},
        {"item_id": "i1", "action": "click", "time": future},
    ]
    body: dict[str, Any] = {"instances": [{"history": history, "k": 1}]}
    assert asked(loaded, body)["items"][0]["item_id"] == "i1"
    body["instances"][0]["time"] = future + 1
    assert asked(loaded, body)["items"][0]["item_id"] == "i2"


def test_a_request_that_fails_is_logged_and_a_wrong_one_is_not(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(Observing(log=ServedLogConfig(rotate_s=0.05)), shop.config.paths)
    loaded = predictor(shop, watch=watch)
    loaded.load()

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a broken model")

    with pytest.raises(InvalidInput):
        asked(loaded, {"instances": [{"user_id": "ann", "k": 0}]})
    monkeypatch.setattr(Ranker, "answer", broken)
    with pytest.raises(ZeroDivisionError):
        asked(loaded)
    watch.close()
    store = store_of(ServedLogConfig(), shop.config.paths)
    (row,) = store.read("failed").to_pylist()
    assert (row["error"], row["version"], row["lane"]) == (
        "ZeroDivisionError",
        shop.version,
        "live",
    )
    assert row["user"] == pseudonyms(shop.config.paths.keys).of("ann")
