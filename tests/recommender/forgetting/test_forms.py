"""A person in every kind of file: counted, taken out, and everybody else left alone."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forget_people import NAMES, person
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from recommender.forgetting import forms
from recommender.forgetting.documents import BLANK, pruned
from recommender.forgetting.forms import Form

ME = person("u0001")
PEOPLE = st.sampled_from(["u0001", "u00012", "u0002", "xu0001", None])


@given(
    st.lists(
        st.tuples(PEOPLE, PEOPLE, st.lists(PEOPLE, max_size=3), st.integers(0, 9)), max_size=40
    ),
    st.integers(1, 7),
)
@settings(max_examples=40, deadline=None)
def test_parquet_loses_exactly_the_rows_that_name_the_person(tmp_path_factory, rows, group):
    path = tmp_path_factory.mktemp("p") / "t.parquet"
    table = pa.table(
        {
            "user_id": pa.array([row[0] for row in rows], pa.string()),
            "item_id": pa.array([row[1] for row in rows], pa.string()),
            "seen_by": pa.array([row[2] for row in rows], pa.list_(pa.string())),
            "pseudonym": pa.array([row[0] and NAMES.of(row[0]) for row in rows], pa.string()),
            "n": pa.array([row[3] for row in rows], pa.int64()),
        }
    )
    named = table.set_column(0, "user_id", table["user_id"].dictionary_encode())
    pq.write_table(named, path, row_group_size=group, compression="snappy")
    theirs = [row[0] == "u0001" or "u0001" in row[2] for row in rows]
    assert forms.count(path, ME) == sum(theirs)
    before, schema = path.read_bytes(), pq.read_schema(path)
    assert forms.erase(path, ME) == sum(theirs)
    kept = [row for row, mine in zip(table.to_pylist(), theirs, strict=True) if not mine]
    after = pq.read_table(path)
    assert after.to_pylist() == kept
    assert after.schema.equals(schema, check_metadata=True)
    assert any(theirs) or path.read_bytes() == before
    assert forms.count(path, ME) == 0


def test_parquet_is_looked_into_to_the_bottom(tmp_path):
    path = tmp_path / "t.parquet"
    deep = pa.list_(pa.struct([("who", pa.string()), ("n", pa.int8())]))
    columns = {
        "struct": pa.array([{"who": "u0001"}, {"who": "u0002"}, {"who": None}]),
        "deep": pa.array([[], [{"who": "u0002", "n": 1}], [{"who": "u0001", "n": 2}]], deep),
        "map": pa.array([[("a", "b")], [("u0001", "b")], []], pa.map_(pa.string(), pa.string())),
        "bytes": pa.array([b"x", b"y", ME.keys[0]], pa.binary()),
        "note": pa.array(["", f"see {ME.pseudonym}!", ""], pa.large_string()),
    }
    for name, found in {"struct": 1, "deep": 1, "map": 1, "bytes": 1, "note": 1}.items():
        pq.write_table(pa.table({name: columns[name], "row": [0, 1, 2]}), path)
        assert forms.count(path, ME) == found, name
        assert forms.erase(path, ME) == 1
        assert pq.read_table(path).num_rows == 2


def test_attributes_of_others_are_not_the_person(tmp_path):
    path = tmp_path / "users.parquet"
    attributes = pa.map_(pa.string(), pa.string())
    pq.write_table(
        pa.table(
            {
                "user_id": ["42", "7"],
                "attributes": pa.array([[("age", "30")], [("age", "42")]], attributes),
            }
        ),
        path,
    )
    assert forms.erase(path, person("42")) == 1
    assert pq.read_table(path)["user_id"].to_pylist() == ["7"]


def test_a_torn_parquet_file_is_said_to_be_unreadable(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"user_id": ["u0001"] * 100}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(forms.UnreadableError, match=r"t\.parquet can't be decoded as Parquet"):
        forms.count(path, ME)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_sqlite_keeps_no_byte_of_the_person(tmp_path, journal):
    path = tmp_path / "online.db"
    keys = {name: person(name).keys[0] for name in ("u0001", "u0002")}
    with closing(sqlite3.connect(path)) as reader:
        reader.execute(f"PRAGMA journal_mode={journal}")
        with closing(sqlite3.connect(path)) as store, store:
            store.execute("CREATE TABLE t (entity_key BLOB, value BLOB, value_text TEXT)")
            for turn in range(3):
                for name, key in keys.items():
                    values = (key, name.encode() * 3000, f"secret of {name} {turn}")
                    store.execute("INSERT INTO t VALUES (?, ?, ?)", values)
                store.execute("DELETE FROM t WHERE value_text LIKE ?", (f"%{turn - 1}",))
        reader.execute("SELECT count(*) FROM t").fetchone()
        assert forms.count(path, ME) > 0
        assert forms.erase(path, ME) > 0
        (left,) = reader.execute("SELECT count(*) FROM t").fetchone()
        assert left == 1
        for file in tmp_path.iterdir():
            data = file.read_bytes()
            assert keys["u0001"] not in data, file
            assert b"u0001u0001" not in data, file
            assert b"secret of u0001" not in data, file
        assert (
            keys["u0002"] in path.read_bytes() + (tmp_path / "online.db-wal").read_bytes()
            if (journal == "WAL")
            else keys["u0002"] in path.read_bytes()
        )
        assert forms.count(path, ME) == 0


def test_json_loses_the_innermost_record_about_the_person():
    told = {
        "examples": [
            {"user_id": "u0001", "items": ["i1"]},
            {"user_id": "u0002", "items": ["u0001"]},
            {"who": {"id": "u0001"}, "n": 1},
        ],
        "unscored": {ME.pseudonym: "no reason", "other": "a reason"},
        "popularity": {"u0001": 3},
        "users": ["u0001", "u00012"],
        "error": "user u0001 has no history",
        "title": "u0001 and other names",
        "count": 42,
        "nothing": None,
    }
    left, removed = pruned(told, ME)
    assert left == {
        "examples": [{"user_id": "u0002", "items": ["u0001"]}],
        "unscored": {"other": "a reason"},
        "popularity": {"u0001": 3},
        "users": ["u00012"],
        "error": BLANK,
        "title": "u0001 and other names",
        "count": 42,
        "nothing": None,
    }
    assert removed == 5
    assert pruned(left, ME) == (left, 0)


def test_a_document_about_the_person_keeps_its_shape():
    assert pruned({"user_id": "u0001", "n": 1}, ME) == ({"user_id": None, "n": 1}, 1)


JSON = st.recursive(
    st.none()
    | st.integers()
    | st.sampled_from(["u0001", "u00012", "a user u0001", ME.pseudonym, ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["user_id", "n", "u0001", ME.pseudonym]), inner, max_size=3
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_json_that_was_pruned_names_nobody_and_stays_as_it_is(told):
    left, removed = pruned(told, ME)
    assert pruned(left, ME)[1] == 0
    assert "u0001" not in [*_texts(left)]
    assert removed or left == told


def _texts(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield from value.split()


def test_files_are_known_by_what_is_in_them(tmp_path):
    made = {
        "a.json": (b'{"a": 1}', Form.JSON),
        "torn.json": (b'{"user_id": "u0001"', Form.TEXT),
        "b": (b'["u0001"]', Form.JSON),
        "c.jsonl": (b'{"user_id": "u0001"}\n{"user', Form.LINES),
        "d.html": (b"<p>u0001</p>", Form.PAGE),
        "e.log": ("häufig: u0001\n".encode(), Form.TEXT),
        "f.gz": (gzip.compress(b"user u0001"), Form.GZIP),
        "g.bin": (b"\0u0001\0", Form.BINARY),
        "empty": (b"", Form.TEXT),
    }
    for name, (content, form) in made.items():
        (tmp_path / name).write_bytes(content)
        assert forms.form_of(tmp_path / name) is form, name
    found = {name for name in made if forms.count(tmp_path / name, ME)}
    # Five letters are too few for bytes that are no text.
    assert found == set(made) - {"a.json", "g.bin", "empty"}
    for name in found - {"f.gz"}:
        assert forms.erase(tmp_path / name, ME) > 0, name
        assert forms.count(tmp_path / name, ME) == 0, name
    with pytest.raises(forms.UnreadableError, match="can't be written again"):
        forms.erase(tmp_path / "f.gz", ME)


def test_archives_and_weights_are_looked_into(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.csv", "who\nu0001\n")
    assert forms.count(tmp_path / "z.zip", ME) == 1
    weights = tmp_path / "w.safetensors"
    save_file({"a": np.zeros(4, np.float32)}, weights, {"trained_on": ME.pseudonym})
    assert forms.count(weights, ME) == 1
    save_file({"a": np.zeros(4, np.float32)}, weights)
    assert forms.count(weights, ME) == 0


def test_a_mention_across_two_blocks_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "_BLOCK", 1 << 13)
    path = tmp_path / "x.bin"
    for start in (8180, 8191, 8192):
        path.write_bytes(b"\0" * start + ME.pseudonym.encode() + b"\0" * 9000)
        assert forms.count(path, ME) == 1


def test_a_page_loses_the_pieces_and_keeps_its_tags(tmp_path):
    page = tmp_path / "r.html"
    page.write_text(
        f'<tr class="x"><td>row 3, user_id {ME.pseudonym}, value -1</td>'
        f'<td title="{ME.pseudonym}">ok</td></tr><li>u00012</li>'
    )
    assert forms.erase(page, ME) == 2
    assert page.read_text() == (
        f'<tr class="x"><td>{BLANK}</td><td title="forgotten">ok</td></tr><li>u00012</li>'
    )


def test_lines_with_odd_ends_stay_whole(tmp_path):
    path = tmp_path / "r.jsonl"
    rows = [{"user": "u0002", "text": "a\u2028b\x85c"}, {"user": "u0001"}, {"user": "u0003"}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert forms.erase(path, ME) == 1
    assert [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] == [rows[0], rows[2]]
