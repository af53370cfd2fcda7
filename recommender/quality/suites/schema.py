"""What is expected of the columns' types, before anything else is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recommender.errors import StorageError
from recommender.quality.expect import Expectations, fact, inert, kinds
from recommender.tables import OPTIONAL, SCHEMAS, optional_in


def found(folder: Path) -> pd.DataFrame:
    """Read the types of the columns of canonical Parquet files, without reading the rows.

    Returns:
        One row; a column `<table>.<column>` per canonical column with the name of its type: the
        canonical name where it can be read as that without loss, "missing" where it is absent.

    Raises:
        StorageError: a file is missing or isn't Parquet.
    """
    types: dict[str, list[str]] = {}
    for table, schema in _schemas(optional_in(folder)).items():
        path = folder / f"{table}.parquet"
        try:
            actual = pq.read_schema(path)
        except FileNotFoundError as error:
            raise StorageError(f"{path} does not exist", "run the ingest step first") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise StorageError(f"{path} is not a readable Parquet file: {error}") from error
        for field in schema:
            place = actual.get_field_index(field.name)
            given = actual.field(place).type if place >= 0 else None
            types[f"{table}.{field.name}"] = [_named(given, field.type)]
    return pd.DataFrame(types)


def schema_suite(optional: Sequence[str] = ()) -> Expectations:
    """Expect every canonical column, and values in it that fit its type.

    Args:
        optional: names of the optional tables that are there.
    """
    gxe = kinds()

    made: Expectations = []
    for table, schema in _schemas(optional).items():
        for field in schema:
            made += fact(
                gxe.ExpectColumnValuesToBeInSet,
                f"{table}.{field.name}: type",
                str(field.type),
                "A column of another type can't be read; nothing further is judged.",
                column=f"{table}.{field.name}",
                value_set=[inert(str(field.type))],
            )
    return made


def _schemas(optional: Sequence[str]) -> dict[str, pa.Schema]:
    return SCHEMAS | {name: OPTIONAL[name] for name in optional}


def _named(given: pa.DataType | None, wanted: pa.DataType) -> str:
    if given is None:
        return "missing"
    return str(wanted) if _fits(given, wanted) else str(given)


def _fits(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Return whether every value of `given` can be read as `wanted`."""
    if given.equals(wanted) or pa.types.is_null(given):
        return True
    if pa.types.is_dictionary(given):
        return _fits(given.value_type, wanted)
    if pa.types.is_string(wanted):
        return bool(pa.types.is_large_string(given))
    if pa.types.is_timestamp(wanted):
        return bool(pa.types.is_timestamp(given)) and given.tz is not None
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_floating(given) or pa.types.is_integer(given))
    if pa.types.is_integer(wanted):
        return bool(pa.types.is_integer(given))
    if pa.types.is_list(wanted):
        listed = pa.types.is_list(given) or pa.types.is_large_list(given)
        return bool(listed) and _fits(given.value_type, wanted.value_type)
    return False
