"""What else a catalogue tells of its items: numbers, and vectors that somebody made of them.

Shape letters: R rows, W width of one vector.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from recommender.errors import SourceError
from recommender.sources.convert import judge, numbers
from recommender.sources.raw import Raw
from recommender.sources.report import IngestReport
from recommender.tables import FURTHER

_BETWEEN = re.compile(r"[\s,;|]+")
_KINDS = {field.name: field.type for field in FURTHER["items"]}


def further_numbers(raw: Raw, wanted: Mapping[str, str], report: IngestReport) -> pa.Array:
    """Return the further numbers of each row, by name, (R,); what is missing is not named.

    Args:
        raw: the rows.
        wanted: name → raw column.
        report: takes what could not be read.

    Raises:
        SourceError: most cells of a column aren't numbers.
    """
    cells = {name: numbers(raw, column, report).to_pylist() for name, column in wanted.items()}
    return _named(raw, cells, "numbers")


def further_vectors(raw: Raw, wanted: Mapping[str, str], report: IngestReport) -> pa.Array:
    """Return the further vectors of each row, by name, (R,); what is missing is not named.

    A cell is a list of numbers, or a text of numbers between blanks, commas or semicolons, with or
    without brackets. One that holds anything else, or no finite number, is counted and left out.

    Args:
        raw: the rows.
        wanted: name → raw column.
        report: takes what could not be read.

    Raises:
        SourceError: most cells of a column aren't vectors, or they are of different widths.
    """
    return _named(
        raw, {name: _vectors(raw, column, report) for name, column in wanted.items()}, "vectors"
    )


def _vectors(raw: Raw, name: str, report: IngestReport) -> list[list[float] | None]:
    cells = raw.columns[name].to_pylist()
    found = [None if cell is None else _vector(cell) for cell in cells]
    wrong = [cell is not None and vector is None for cell, vector in zip(cells, found, strict=True)]
    judge(raw, name, "a vector", pa.chunked_array([pa.array(wrong, pa.bool_())]), report)
    widths = sorted({len(vector) for vector in found if vector is not None})
    if len(widths) > 1:
        raise SourceError(
            f"source.{raw.table}: column {name!r} holds vectors of different widths: {widths}",
            "vectors of one column must be made by one encoder",
        )
    return found


def _vector(cell: Any) -> list[float] | None:
    """Return the numbers of a cell, (W,); None where they aren't a vector."""
    parts: Iterable[Any] = cell
    if isinstance(cell, str):
        parts = [part for part in _BETWEEN.split(cell.strip().strip("[]()")) if part]
    try:
        vector = [float(part) for part in parts]
    except (TypeError, ValueError):
        return None
    return vector if vector and np.isfinite(vector).all() else None


def _named(raw: Raw, cells: Mapping[str, list[Any]], kind: str) -> pa.Array:
    rows = [
        [(name, column[row]) for name, column in cells.items() if column[row] is not None]
        for row in range(len(raw))
    ]
    return pa.array(rows, _KINDS[kind])
