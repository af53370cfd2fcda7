"""Delimited text (.csv, .tsv, .dat …), every column as text: only the mapping knows their types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc

from recommender.config.raw_files import FilesConfig
from recommender.errors import SourceError
from recommender.sources.readers.encoded import check_encoding, check_not_empty, chunks

# Stands in for delimiters of several characters; a control character that text doesn't hold.
_SEPARATOR = "\x1f"


def columns(path: Path, config: FilesConfig) -> list[str]:
    """Return the column names, from the header line or the configuration.

    Raises:
        SourceError: the file is empty, unreadable or not in the configured encoding.
    """
    check_not_empty(path)
    if config.header:
        return list(config.header)
    try:
        with _open(path, config, start=True) as stream:
            reader = pc.open_csv(stream, _reading(config), _parsing(path, config))
            return list(reader.schema.names)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _explained(path, config, error) from error


def read(path: Path, config: FilesConfig, wanted: Sequence[str]) -> pa.Table:
    """Read some columns as text; empty cells and those in `config.missing` are null.

    Raises:
        SourceError: a line has too few or too many cells, or isn't in the configured encoding.
    """
    converting = pc.ConvertOptions(
        column_types=dict.fromkeys(wanted, pa.string()),
        include_columns=list(wanted),
        null_values=["", *config.missing],
        strings_can_be_null=True,
    )
    try:
        with _open(path, config) as stream:
            return pc.read_csv(stream, _reading(config), _parsing(path, config), converting)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _explained(path, config, error) from error


def _reading(config: FilesConfig) -> pc.ReadOptions:
    names = list(config.header) or None
    return pc.ReadOptions(encoding=config.encoding, column_names=names, block_size=8 << 20)


def _parsing(path: Path, config: FilesConfig) -> pc.ParseOptions:
    delimiter = _delimiter(path, config)
    return pc.ParseOptions(
        delimiter=delimiter if len(delimiter) == 1 else _SEPARATOR,
        quote_char='"' if config.quoted else False,
        newlines_in_values=config.quoted,
    )


def _delimiter(path: Path, config: FilesConfig) -> str:
    return config.delimiter or ("\t" if ".tsv" in path.suffixes else ",")


def _open(path: Path, config: FilesConfig, *, start: bool = False) -> pa.NativeFile:
    """Open a file; `start` is enough to see the header."""
    delimiter = _delimiter(path, config)
    if len(delimiter) == 1:
        return pa.input_stream(path, compression="detect")
    pieces = chunks(path)
    # Joined before replacing, because a delimiter may lie across two pieces.
    data = next(pieces, b"") if start else b"".join(pieces)
    if start and b"\n" in data:
        data = data[: data.rindex(b"\n") + 1]
    old, new = (text.encode(config.encoding) for text in (delimiter, _SEPARATOR))
    return pa.BufferReader(data.replace(old, new))


def _explained(path: Path, config: FilesConfig, error: Exception) -> SourceError:
    check_encoding(path, config.encoding)
    return SourceError(
        f"{path} is not a table of delimited text: {error}",
        "check `delimiter`, `quoted` and `header` of this file in the configuration",
    )
