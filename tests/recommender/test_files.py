"""Nothing is ever seen half-written."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path

import pytest

from recommender.errors import StorageError
from recommender.files import atomic_directory, atomic_file, read_json, write_json

FULL = Path("/dev/full")


def test_a_file_appears_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with atomic_file(path) as temporary:
            temporary.write_text("ne")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(StorageError, match=r"a\.txt: No space left") as told, atomic_file(path):
        FULL.write_text("x")
    assert "free some space" in told.value.hint
    assert path.read_text() == "old"


def test_a_folder_that_is_a_file_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match="cannot write"),
        atomic_file(tmp_path / "file" / "a.txt"),
    ):
        pass


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path):
    path = tmp_path / "model"
    for name in ("one", "two"):
        with atomic_directory(path) as temporary:
            (temporary / name).write_text(name)
    assert [each.name for each in path.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = tmp_path / "model"
    with atomic_directory(path) as temporary:
        (temporary / "one").write_text("1")

    def write():
        with atomic_directory(path) as temporary:
            (temporary / "two").write_text("2")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="No space left"):
        write()
    assert [each.name for each in path.iterdir()] == ["one"]
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_stable_readable_and_comes_back(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": [1, 2.5, None], "a": "Zürich 苏黎世"})
    assert path.read_text(encoding="utf-8").startswith('{\n  "a": "Zürich 苏黎世",\n  "b"')
    assert read_json(path) == {"b": [1, 2.5, None], "a": "Zürich 苏黎世"}


def test_json_refuses_nan_instead_of_writing_what_others_cannot_read(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"loss": math.nan})
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "said"), [(b"{", "not valid JSON"), (b"\xff", "not valid JSON")]
)
def test_damaged_json_is_said(tmp_path, content, said):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=said):
        read_json(path)


def test_missing_json_is_said(tmp_path):
    with pytest.raises(StorageError, match=r"a\.json does not exist"):
        read_json(tmp_path / "a.json")
