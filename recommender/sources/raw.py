"""Raw rows of one kind, from however many files in whatever format, with where each came from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.config.raw_files import FilesConfig
from recommender.errors import SourceError
from recommender.sources.fetch import Fetched
from recommender.sources.readers import delimited, json_lines, parquet, workbook

_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".dat": "csv",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "excel",
}
_PACKED = (".gz", ".bz2", ".zst")


@dataclass(frozen=True)
class Raw:
    """Raw rows.

    Attributes:
        table: which canonical table they are for: events, items, users or follows.
        columns: the raw columns: text, numbers, moments or lists of text. Text is trimmed;
            empty cells and those configured as missing are null.
        rows: number of each row among all raw rows (from 0), (R,); survives `where`.
        files: name and number of rows of each file, in the order they were read.
        private: columns whose cells are shown to nobody (user ids).
    """

    table: str
    columns: pa.Table
    rows: NDArray[np.int64]
    files: tuple[tuple[str, int], ...]
    private: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, keep: NDArray[np.bool_]) -> Raw:
        """Return only the rows where `keep` (R,) holds."""
        if keep.all():
            return self
        return replace(self, columns=self.columns.filter(pa.array(keep)), rows=self.rows[keep])

    def take(self, order: pa.Array) -> Raw:
        """Return the rows in another order, (R,) row numbers."""
        return replace(self, columns=self.columns.take(order), rows=self.rows[order.to_numpy()])

    def place(self, index: int) -> str:
        """Say where row `index` of those that are left came from: file and row, from 1."""
        row = int(self.rows[index])
        for name, count in self.files:
            if row < count:
                return f"{name} row {row + 1:,}"
            row -= count
        raise IndexError(index)

    def example(self, index: int, names: Iterable[str]) -> str:
        """Say where a row is and what some of its columns hold."""
        cells = (f"{name} = {self._shown(name, index)}" for name in names)
        return f"{self.place(index)}: {', '.join(cells)}"

    def _shown(self, name: str, index: int) -> str:
        cell = self.columns[name][index].as_py()
        return "…" if name in self.private and cell is not None else repr(cell)


@dataclass(frozen=True)
class RawFiles:
    """Raw files of one kind that lie on this machine; nothing but their columns is known yet.

    Attributes:
        table: events, items or users.
        config: how they are written.
        fetched: where they lie.
        paths: the ones that are meant, in reading order.
    """

    table: str
    config: FilesConfig
    fetched: Fetched
    paths: tuple[Path, ...]

    @classmethod
    def find(cls, table: str, config: FilesConfig, fetched: Fetched) -> RawFiles:
        """Pick the files that the configuration means.

        Raises:
            SourceError: there are none.
        """
        return cls(table, config, fetched, fetched.matching(config.pattern))

    def check(self, wanted: Sequence[str]) -> None:
        """Make sure that every file has the columns that are mapped; reads headers only.

        Raises:
            SourceError: one lacks a column (the message names it, those there are and the
                nearest), is empty, or can't be read.
        """
        for path in self.paths:
            found = self._columns(path)
            for name in wanted:
                if name not in found:
                    raise _missing(path, self.table, name, found)

    def read(
        self,
        wanted: Sequence[str],
        nested: frozenset[str] = frozenset(),
        private: frozenset[str] = frozenset(),
    ) -> Raw:
        """Read some columns of all files, one below the other.

        Args:
            wanted: the columns.
            nested: those that JSON may hold lists in.
            private: those with user ids.

        Raises:
            SourceError: a file is damaged, has no rows, or a column changes its type.
        """
        names = list(dict.fromkeys(wanted))
        tables, sizes = [], []
        for path in self.paths:
            table = self._read(path, names, nested)
            if not table.num_rows:
                raise SourceError(f"{path} has column names but no rows")
            tables.append(table)
            sizes.append((self.fetched.name(path), table.num_rows))
        columns = pa.table([self._joined(n, tables) for n in names], names=names)
        return Raw(self.table, columns, np.arange(columns.num_rows), tuple(sizes), private)

    def _joined(self, name: str, tables: list[pa.Table]) -> pa.ChunkedArray:
        kinds = {table[name].type for table in tables}
        columns = [table[name] for table in tables]
        if len(kinds) > 1:
            if any(pa.types.is_list(kind) for kind in kinds):
                raise SourceError(f"{self.table}: column {name!r} is a list in some files only")
            columns = [column.cast(pa.string()) for column in columns]
        chunks = [chunk for column in columns for chunk in column.chunks]
        return self._cleaned(pa.chunked_array(chunks, columns[0].type))

    def _cleaned(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        gone_words = set(self.config.missing)
        if pa.types.is_list(column.type) and gone_words:
            rows = [
                None if row is None else [text for text in row if text not in gone_words]
                for row in column.to_pylist()
            ]
            return pa.chunked_array([pa.array(rows, column.type)])
        if column.type != pa.string():
            return column
        trimmed = pc.utf8_trim_whitespace(column)
        gone = pc.is_in(trimmed, value_set=pa.array(["", *self.config.missing]))
        if not pc.any(gone).as_py():
            return trimmed
        return pc.if_else(gone, pa.scalar(None, pa.string()), trimmed)

    def _format(self, path: Path) -> str:
        if self.config.format != "auto":
            return self.config.format
        endings = [ending.lower() for ending in path.suffixes if ending.lower() not in _PACKED]
        found = _ENDINGS.get(endings[-1]) if endings else None
        if found is None:
            raise SourceError(
                f"{path}: can't tell the format by the ending {path.suffix!r}",
                f"set `format` to csv, jsonl, parquet or excel, or `pattern` under {self.table} "
                "if this file isn't meant",
            )
        return found

    def _columns(self, path: Path) -> list[str]:
        kind = self._format(path)
        if kind == "csv":
            return delimited.columns(path, self.config)
        if kind == "jsonl":
            return json_lines.columns(path, self.config)
        return parquet.columns(path) if kind == "parquet" else workbook.columns(path)

    def _read(self, path: Path, names: Sequence[str], nested: frozenset[str]) -> pa.Table:
        kind = self._format(path)
        if kind == "csv":
            return delimited.read(path, self.config, names)
        if kind == "jsonl":
            return json_lines.read(path, self.config, names, nested)
        return parquet.read(path, names) if kind == "parquet" else workbook.read(path, names)


def _missing(path: Path, table: str, name: str, found: Sequence[str]) -> SourceError:
    by_lower = {column.lower(): column for column in found}
    near = difflib.get_close_matches(name.lower(), list(by_lower), 1, cutoff=0.5)
    nearest = f"did you mean {by_lower[near[0]]!r}? " if near else ""
    return SourceError(
        f"{path} lacks the column {name!r} that source.{table} maps; "
        f"it has {', '.join(map(repr, found))}",
        f"{nearest}correct the mapping in the configuration",
    )
