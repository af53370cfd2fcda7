"""Excel workbooks (.xlsx), all sheets one below the other, every cell as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from recommender.errors import SourceError


def columns(path: Path) -> list[str]:
    """Return the column names, which all sheets must share.

    Raises:
        SourceError: openpyxl isn't installed, the file is damaged, or sheets differ.
    """
    sheets = {name: [str(c) for c in sheet.columns] for name, sheet in _sheets(path, 0).items()}
    if not sheets:
        raise SourceError(f"{path} is empty")
    (first, names), *others = sheets.items()
    for other, found in others:
        if found != names:
            raise SourceError(
                f"{path}: sheet {other!r} has other columns ({', '.join(found)}) than "
                f"{first!r} ({', '.join(names)})",
                "keep the sheets of one table in a file of their own",
            )
    return names


def read(path: Path, wanted: Sequence[str]) -> pa.Table:
    """Read some columns of all sheets as text.

    Raises:
        SourceError: openpyxl isn't installed, or the file is damaged.
    """
    sheets = _sheets(path, None).values()
    schema = pa.schema([(name, pa.string()) for name in wanted])
    return pa.concat_tables(
        pa.Table.from_pandas(sheet[list(wanted)], schema, preserve_index=False) for sheet in sheets
    ).replace_schema_metadata(None)


def _sheets(path: Path, rows: int | None) -> dict[str, Any]:
    import pandas as pd

    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty", "the export may have failed; write it again")
    try:
        found = pd.read_excel(path, sheet_name=None, dtype=str, nrows=rows, engine="openpyxl")
    except ImportError:
        raise SourceError(
            f"{path}: reading Excel needs the package openpyxl, which is not installed",
            "pip install openpyxl, or save the sheet as CSV",
        ) from None
    except Exception as error:  # openpyxl raises whatever the zip and XML inside raise
        raise SourceError(f"{path} is not a readable workbook: {error}") from error
    return {name: sheet for name, sheet in found.items() if len(sheet.columns)}
