"""JSON lines, one object a line. DuckDB reads them in parallel and copes with mixed types.

Scalars come as text. Columns named as nested (texts, categories, prices of a catalogue, which
sources write now as one value, now as a list) come as lists of text, flattened.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from recommender.config.raw_files import FilesConfig
from recommender.errors import SourceError
from recommender.sources.readers.encoded import (
    check_encoding,
    check_not_empty,
    chunks,
    transcoded,
)

_PEEK_LINES = 1000
_READ_DIRECTLY = {".gz", ".zst", ".jsonl", ".json", ".ndjson"}


def columns(path: Path, config: FilesConfig) -> list[str]:
    """Return the keys of the first thousand lines, in the order they appear.

    Raises:
        SourceError: the file is empty, or a line isn't a JSON object.
    """
    check_not_empty(path)
    found: dict[str, None] = {}
    for _, value in islice(_objects(path, config.encoding), _PEEK_LINES):
        found.update(dict.fromkeys(value))
    return list(found)


def read(
    path: Path, config: FilesConfig, wanted: Sequence[str], nested: frozenset[str]
) -> pa.Table:
    """Read some keys; a line without a key has null there.

    Raises:
        SourceError: a line isn't a JSON object, or isn't in the configured encoding.
    """
    import duckdb  # needed for this format only

    kinds = {name: "JSON" if name in nested else "VARCHAR" for name in wanted}
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        plain = path
        if not _is_utf8(config.encoding) or path.suffix.lower() not in _READ_DIRECTLY:
            plain = Path(folder) / "plain.jsonl"
            transcoded(path, config.encoding, plain)
        try:
            found = connection.read_json(
                _literal(plain), columns=kinds, format="newline_delimited", records="true"
            ).to_arrow_table()
        except duckdb.Error as error:
            raise _explained(path, config, error) from error
    arrays = [
        _flattened(found[name]) if name in nested else found[name].cast(pa.string())
        for name in wanted
    ]
    return pa.table(arrays, names=list(wanted))


def flat(value: Any) -> list[str]:
    """Return the texts in a JSON value, however deep they lie in lists and objects."""
    if value is None or value == "":
        return []
    if isinstance(value, list):
        return [text for part in value for text in flat(part)]
    if isinstance(value, dict):
        return [text for part in value.values() for text in flat(part)]
    return [str(value)]


def _flattened(column: pa.ChunkedArray) -> pa.ChunkedArray:
    rows = [None if text is None else flat(json.loads(text)) for text in column.to_pylist()]
    return pa.chunked_array([pa.array(rows, pa.list_(pa.string()))])


def _objects(path: Path, encoding: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line numbers and objects."""
    for number, line in enumerate(_lines(path), start=1):
        try:
            text = line.decode(encoding)
            value = json.loads(text) if text.strip() else {}
        except UnicodeDecodeError:
            check_encoding(path, encoding)
            raise
        except json.JSONDecodeError as error:
            python = text.lstrip().startswith(("{'", '{u"', "{u'"))
            raise SourceError(
                f"{path}: line {number} is not JSON: {error}",
                "this is a Python literal; write it as JSON first" if python else "",
            ) from None
        if not isinstance(value, dict):
            raise SourceError(
                f"{path}: line {number} is not a JSON object but {text.strip()[:40]!r}",
                "JSON lines have one object with named values in each line",
            )
        yield number, value


def _lines(path: Path) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks(path):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _explained(path: Path, config: FilesConfig, error: Exception) -> SourceError:
    check_encoding(path, config.encoding)
    for _ in _objects(path, config.encoding):
        pass  # raises at the line that is wrong
    return SourceError(f"{path} can't be read as JSON lines: {error}")


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8", "ascii", "us-ascii")


def _literal(path: Path) -> str:
    # DuckDB would take these as a pattern.
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))
