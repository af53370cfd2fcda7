"""What a file is, by its content, and how a person is found in it and taken out of it."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pyarrow as pa

from recommender.errors import StorageError
from recommender.files import atomic_file, write_json
from recommender.forgetting import documents, parquet, sqlite, texts
from recommender.forgetting.person import Person

_HEAD = 1 << 13
_BLOCK = 1 << 24
_OVERLAP = 1 << 12


class Form(StrEnum):
    """Kinds of files."""

    PARQUET = "Parquet"
    SQLITE = "SQLite"
    JSON = "JSON"
    LINES = "JSON lines"
    PAGE = "HTML"
    TEXT = "text"
    GZIP = "gzip"
    ZIP = "zip"
    BINARY = "bytes"


class UnreadableError(StorageError):
    """A file can't be decoded, so nobody can say who is in it."""


def form_of(path: Path) -> Form:
    """Tell what a file is; its name only breaks ties."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    for magic, form in (
        (parquet.MAGIC, Form.PARQUET),
        (sqlite.MAGIC, Form.SQLITE),
        (b"\x1f\x8b", Form.GZIP),
        (b"PK\x03\x04", Form.ZIP),
    ):
        if head.startswith(magic):
            return form
    if not _is_text(head):
        return Form.BINARY
    start = head.lstrip()
    if path.suffix == ".jsonl":
        return Form.LINES
    # A torn document is still text.
    if (path.suffix == ".json" or start[:1] in (b"{", b"[")) and _is_json(path):
        return Form.JSON
    page = path.suffix in (".html", ".htm", ".svg") or start[:1] == b"<"
    return Form.PAGE if page else Form.TEXT


def count(path: Path, person: Person) -> int:
    """Return in how many rows, records or lines of a file the person is.

    Raises:
        UnreadableError: it can't be decoded.
    """
    form = form_of(path)
    try:
        found = _counted(path, form, person)
    except (pa.ArrowException, sqlite3.Error, OSError, ValueError, zlib.error, EOFError) as error:
        raise UnreadableError(f"{path} can't be decoded as {form.value}: {error}") from error
    # What is between and behind the decoded parts: free pages, metadata, torn ends.
    return found or int(_in_raw_bytes(path, form, person))


def erase(path: Path, person: Person) -> int:
    """Take the person out of a file; one that doesn't name them is not touched.

    Returns:
        how many rows, records or lines went.

    Raises:
        UnreadableError: it can't be decoded, or is of a kind that can't be written again.
        StorageError: it can't be written; it is as it was.
    """
    if not count(path, person):
        return 0
    form = form_of(path)
    if form is Form.PARQUET:
        return parquet.erase(path, person)
    if form is Form.SQLITE:
        return sqlite.erase(path, person) or 1
    if form is Form.JSON:
        left, removed = documents.pruned(json.loads(path.read_text(encoding="utf-8")), person)
        write_json(path, left)
        return removed
    if form is Form.LINES:
        return _rewrite(path, *documents.pruned_lines(path.read_text(encoding="utf-8"), person))
    if form is Form.PAGE:
        page = path.read_text(encoding="utf-8", errors="surrogateescape")
        return _rewrite(path, *texts.without_in_page(page, person))
    if form is Form.TEXT:
        return texts.erase_lines(path, person)
    raise UnreadableError(
        f"{path} names the user, and is of a kind ({form.value}) that can't be written again",
        "remove the file, then run again",
    )


def _counted(path: Path, form: Form, person: Person) -> int:
    if form is Form.PARQUET:
        return parquet.count(path, person)
    if form is Form.SQLITE:
        return sqlite.count(path, person)
    if form is Form.JSON:
        return documents.count(json.loads(path.read_text(encoding="utf-8")), person)
    if form is Form.LINES:
        return documents.pruned_lines(path.read_text(encoding="utf-8"), person)[1]
    if form is Form.PAGE:
        page = path.read_text(encoding="utf-8", errors="surrogateescape")
        return texts.without_in_page(page, person)[1]
    if form is Form.GZIP:
        with gzip.open(path) as stream:
            return int(person.is_in_bytes(stream.read(), binary=False))
    if form is Form.ZIP:
        with zipfile.ZipFile(path) as opened:
            members = (opened.read(member) for member in opened.infolist())
            return sum(person.is_in_bytes(member, binary=False) for member in members)
    return 0


def _in_raw_bytes(path: Path, form: Form, person: Person) -> bool:
    """Tell whether the bytes name the person.

    Where cells were compared one by one, an equal text in another column is no mention: then only
    the pseudonym and the keys of stores are looked for.
    """
    if form in (Form.TEXT, Form.BINARY):
        binary = form is Form.BINARY
        return any(person.is_in_bytes(block, binary=binary) for block in _blocks(path))
    return any(person.is_marked_in(block) for block in _blocks(path))


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in blocks that overlap, so that nothing is cut in two."""
    with path.open("rb") as stream:
        tail = b""
        while block := stream.read(_BLOCK):
            yield tail + block
            tail = block[-_OVERLAP:]


def _rewrite(path: Path, content: str, removed: int) -> int:
    mode = path.stat().st_mode & 0o777
    with atomic_file(path) as temporary:
        temporary.write_text(content, encoding="utf-8", errors="surrogateescape")
        temporary.chmod(mode)
    return removed


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut off.
        return error.start >= len(head) - 3 and len(head) == _HEAD
    return True


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (ValueError, UnicodeDecodeError):
        return False
    return True
