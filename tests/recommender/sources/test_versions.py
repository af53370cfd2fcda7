"""Data versions: named by content, immutable, and not made twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.config import Config
from recommender.sources.content import content_hash, data_version
from recommender.sources.read import read
from recommender.sources.versions import hand_over, ingest
from recommender.tables import EVENTS, ITEMS, USERS, Tables, relaxed

Shop = Callable[..., Config]

_text = st.one_of(st.none(), st.text(max_size=4))
_rows = st.lists(
    st.fixed_dictionaries(
        {
            "text": _text,
            "number": st.one_of(st.none(), st.floats(allow_nan=False)),
            "rank": st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)),
            "words": st.one_of(st.none(), st.lists(_text, max_size=3)),
            "pairs": st.one_of(
                st.none(), st.lists(st.tuples(st.text(max_size=2), _text), max_size=2)
            ),
            "moment": st.one_of(st.none(), st.integers(-(10**12), 10**13)),
        }
    ),
    max_size=12,
)
_SCHEMA = pa.schema(
    {
        "text": pa.string(),
        "number": pa.float64(),
        "rank": pa.int32(),
        "words": pa.list_(pa.string()),
        "pairs": pa.map_(pa.string(), pa.string()),
        "moment": pa.timestamp("ms", "UTC"),
    }
)


@settings(max_examples=150, deadline=None)
@given(_rows, st.data())
def test_the_hash_is_of_what_a_table_says_not_of_how_it_lies_in_memory(
    rows: list[dict[str, object]], data: st.DataObject
) -> None:
    table = pa.Table.from_pylist(rows, _SCHEMA)
    expected = content_hash(table)
    cut = data.draw(st.integers(0, len(rows)))
    # In two chunks; as a slice of a longer table, whose buffers don't start at zero.
    assert content_hash(pa.concat_tables([table[:cut], table[cut:]])) == expected
    longer = pa.concat_tables([table, table, table]).combine_chunks()
    assert content_hash(longer.slice(len(rows), len(rows))) == expected


@settings(max_examples=100, deadline=None)
@given(_rows.filter(len), st.data())
def test_any_other_cell_gives_another_hash(
    rows: list[dict[str, object]], data: st.DataObject
) -> None:
    before = content_hash(pa.Table.from_pylist(rows, _SCHEMA))
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.sampled_from(_SCHEMA.names))
    others = {"text": "other…", "number": 0.125, "rank": 7, "words": ["o", ""], "moment": 5}
    others["pairs"] = [("o", "x")]
    value = others[column] if rows[row][column] != others[column] else None
    changed = [dict(r) for r in rows]
    changed[row][column] = value
    assert content_hash(pa.Table.from_pylist(changed, _SCHEMA)) != before


def test_texts_do_not_run_into_each_other() -> None:
    def of(*words: str | None) -> str:
        return content_hash(pa.table({"a": pa.array(words, pa.string())}))

    assert len({of("ab", "c"), of("a", "bc"), of("abc", ""), of("", "abc"), of("abc", None)}) == 5


def test_zeros_and_nans_of_any_bits_are_the_same() -> None:
    odd = np.array([0x7FF8000000000001, 1 << 63], np.uint64).view(np.float64)
    assert content_hash(pa.table({"a": odd})) == content_hash(pa.table({"a": [np.nan, 0.0]}))


def test_the_version_of_a_known_table_never_changes() -> None:
    """A golden value: a change of it makes every stored data version another one."""
    tables = Tables(
        pa.Table.from_pylist(
            [{"event_id": "0", "user_id": "u", "item_id": "i", "event": "view", "time": 0}],
            relaxed(EVENTS),
        ),
        pa.Table.from_pylist([{"item_id": "i", "categories": ["a", None]}], relaxed(ITEMS)),
        pa.Table.from_pylist([{"user_id": "u", "attributes": [("a", "b")]}], relaxed(USERS)),
    )
    assert data_version(tables) == "d-f9c9e3554085"


def test_writing_and_reading_keeps_the_version(shop: Shop, tmp_path: Path) -> None:
    tables, _ = read(shop())
    tables.write(tmp_path / "out")
    assert data_version(Tables.read(tmp_path / "out")) == data_version(tables)


def _state(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_ino for p in folder.rglob("*") if p.is_file()}


def test_the_same_input_is_a_no_op_with_the_same_version(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = shop()
    first = ingest(config)
    before = _state(config.paths.root)
    second = ingest(config)
    assert (first.unchanged, second.unchanged) == (False, True)
    assert second.name == first.name
    assert second.report == first.report
    assert _state(config.paths.root) == before


def test_other_content_is_another_version_beside_the_first(shop: Shop) -> None:
    config = shop()
    first = ingest(config)
    kept = _state(first.folder)
    second = ingest(shop("user,item,time\nu1,i1,2024-01-01\n"))
    assert second.name != first.name
    assert _state(first.folder) == kept
    assert ingest(shop()).name == first.name


def test_the_same_rows_in_another_format_are_the_same_version(shop: Shop, tmp_path: Path) -> None:
    config = shop()
    first = ingest(config)
    before = _state(first.folder)
    frame = pd.read_csv(config.source.events.location)
    frame.to_parquet(tmp_path / "log.parquet")
    second = ingest(shop(events={"location": str(tmp_path / "log.parquet")}))
    assert (second.name, second.unchanged) == (first.name, True)
    assert _state(first.folder) == before


def test_the_manifest_says_where_the_rows_came_from_and_what_became_of_them(shop: Shop) -> None:
    drop = [{"reason": "no such user", "column": "user", "equals": ["u2"]}]
    config = shop(events={"drop": drop})
    version = ingest(config)
    manifest = json.loads((version.folder / "manifest.json").read_text())
    assert manifest["data_version"] == version.name
    assert manifest["tables"]["events"]["rows"] == 1
    assert manifest["tables"]["events"]["schema"]["time"] == "timestamp[ms, tz=UTC]"
    assert manifest["report"]["dropped"] == [
        {
            "table": "events",
            "reason": "no such user",
            "count": 1,
            "example": "log.csv row 2: user = …",
        }
    ]
    log, items = manifest["report"]["files"]
    assert (log["name"], items["name"]) == ("log.csv", "items.csv")
    assert log["location"] == config.source.events.location
    assert len(log["sha256"]) == 64
    assert manifest["created_from"]["source"]["kind"] == "mapped"


def test_credentials_in_a_url_stay_out_of_the_manifest(
    shop: Shop, https, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = shop()
    for name in ("log.csv", "items.csv"):
        source = Path(config.source.events.location).with_name(name)
        (https.folder / name).write_bytes(source.read_bytes())
    signed = {"location": f"{https.url}/log.csv?signature=secret"}
    version = ingest(shop(events=signed))
    assert version.name == ingest(config).name
    written = "".join(p.read_text() for p in config.paths.data.rglob("*.json"))
    assert "secret" not in written
    assert f"{https.url}/log.csv" in written


def test_a_damaged_version_is_made_again(shop: Shop) -> None:
    config = shop()
    version = ingest(config)
    path = version.folder / "events.parquet"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"x")
    again = ingest(config)
    assert (again.name, again.unchanged) == (version.name, False)
    assert path.read_bytes() == good
    (version.folder / "manifest.json").write_text("{")
    assert not ingest(config).unchanged


def test_what_is_handed_over_is_the_version(shop: Shop, tmp_path: Path) -> None:
    version = ingest(shop())
    for _ in range(2):  # a retried step finds its artifact folder there
        hand_over(version, tmp_path / "artifact")
    names = sorted(path.name for path in (tmp_path / "artifact").iterdir())
    assert names == ["events.parquet", "items.parquet", "manifest.json", "users.parquet"]
    assert pq.read_table(tmp_path / "artifact/events.parquet").num_rows == 2
    assert data_version(Tables.read(tmp_path / "artifact")) == version.name


def test_generated_data_depends_on_the_seed_only(configured: Callable[..., Config]) -> None:
    source = {"kind": "synthetic", "users": 5, "items": 10, "days": 20}
    types = {"types": ["impression", "click", "purchase"]}
    one, again, other = (ingest(configured(source, seed=seed, actions=types)) for seed in (1, 1, 2))
    assert (one.name, again.unchanged) == (again.name, True)
    assert other.name != one.name
