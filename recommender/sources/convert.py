"""Raw columns to canonical types, whole columns at a time.

A cell that can't be read as what its column should hold becomes null and is counted. Where most
cells can't, it is the mapping that is wrong, and that is an error.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.config.mapping import TimeFormat
from recommender.errors import SourceError
from recommender.sources.raw import Raw
from recommender.sources.report import IngestReport, Unreadable
from recommender.tables import TIME

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_NOT_A_NUMBER = r"(?i)^[+-]?nan$"
# What surely fits into 64 bits.
_WHOLE = r"^-?(?:\d{1,18}|[1-8]\d{18})$"
_PER_MS = {"ms": 1, "us": 1000, "ns": 1_000_000}
# The last millisecond that calendars (Python's and pandas') can still name: end of year 9999.
_LAST_MS = 253_402_300_799_999
_FIRST_MS = -62_135_596_800_000
_YEAR_MS = 365.25 * 86_400_000
_YEAR_2200_MS = 7_258_118_400_000
_COUNT = r"^[+-]?\d{9,}(\.\d*)?$"
_OFFSET = r"\d(?:Z|z| ?UTC|[+-]\d{2}:?\d{2})$"


def identifiers(raw: Raw, name: str) -> pa.ChunkedArray:
    """Return a column as ids, text.

    Whole numbers written with a fraction (`13085.0`, what a column with gaps becomes in pandas)
    lose it if all are written so.
    """
    column = _scalar(raw, name)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        whole = pc.all(pc.equal(pc.floor(column), column)).as_py()
        column = column.cast(pa.int64(), safe=False) if whole is not False else column
    text = column.cast(pa.string())
    if pc.all(pc.match_substring_regex(text, r"^\d+\.0$")).as_py():
        text = pc.replace_substring_regex(text, r"\.0$", "")
    return text


def texts(raw: Raw, name: str) -> pa.ChunkedArray:
    """Return a column as text; lists are joined by spaces, and an empty list is a missing cell."""
    column = raw.columns[name]
    if pa.types.is_list(column.type):
        joined = pc.binary_join(column, " ")
        return pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), joined)
    return column.cast(pa.string())


def numbers(raw: Raw, name: str, report: IngestReport) -> pa.ChunkedArray:
    """Return a column as float64; NaN and infinity are null.

    Raises:
        SourceError: most cells aren't numbers.
    """
    column = _scalar(raw, name)
    if pa.types.is_timestamp(column.type):
        raise SourceError(f"source.{raw.table}: column {name!r} holds moments, not numbers")
    if column.type != pa.string():
        found = column.cast(pa.float64(), safe=False)
        return pc.if_else(pc.is_finite(found), found, pa.scalar(None, pa.float64()))
    readable = pc.match_substring_regex(column, _NUMBER)
    wrong = pc.and_not(pc.invert(readable), pc.match_substring_regex(column, _NOT_A_NUMBER))
    judge(raw, name, "a number", wrong, report)
    return pc.if_else(readable, column, pa.scalar(None, pa.string())).cast(pa.float64())


def moments(raw: Raw, name: str, config: TimeFormat, report: IngestReport) -> pa.ChunkedArray:
    """Return a column as UTC milliseconds.

    Raises:
        SourceError: most cells aren't moments in the configured unit or format, or the unit of
            numbers isn't given.
    """
    column = _scalar(raw, name)
    if pa.types.is_timestamp(column.type):
        return _from_timestamps(raw, name, column, config, report)
    if config.unit != "auto":
        return _from_numbers(raw, name, config, report)
    bare = column.type != pa.string()
    if bare or (config.format is None and pc.all(pc.match_substring_regex(column, _COUNT)).as_py()):
        first = pc.index(pc.is_valid(column), True).as_py()
        example = raw.example(first, [name]) if first >= 0 else f"{name} is empty"
        raise SourceError(
            f"source.{raw.table}: column {name!r} holds numbers, whose unit isn't known; the first "
            f"is in {example}",
            "set time.unit to s, ms, us or ns (since 1970), or time.format",
        )
    return _from_texts(raw, name, column, config, report)


def judge(
    raw: Raw, name: str, wanted: str, wrong: pa.ChunkedArray, report: IngestReport, hint: str = ""
) -> None:
    """Record the cells of a column that can't be read.

    Args:
        raw: the rows.
        name: the column.
        wanted: what its cells should be, in words.
        wrong: true where one isn't; null where there is no cell, (R,).
        report: takes the record.
        hint: what to do if most are wrong.

    Raises:
        SourceError: most cells are wrong, so it is the mapping that is.
    """
    count = pc.sum(wrong).as_py() or 0
    if not count:
        return
    where = raw.example(pc.index(wrong, True).as_py(), [name])
    cells = len(raw) - raw.columns[name].null_count
    if 2 * count > cells:
        raise SourceError(
            f"source.{raw.table}: column {name!r} should hold {wanted}, but {count:,} of its "
            f"{cells:,} cells don't; the first is in {where}",
            hint or "map another column, or correct the file",
        )
    record = Unreadable(raw.table, name, wanted, count, where)
    if record not in report.unreadable:
        report.unreadable.append(record)


def _scalar(raw: Raw, name: str) -> pa.ChunkedArray:
    column = raw.columns[name]
    if pa.types.is_list(column.type):
        raise SourceError(
            f"source.{raw.table}: column {name!r} holds lists, where one value is needed"
        )
    return column


def _from_numbers(raw: Raw, name: str, config: TimeFormat, report: IngestReport) -> pa.ChunkedArray:
    scaled = _milliseconds(raw, name, config.unit, report)
    present = np.isfinite(scaled)
    in_calendar = (scaled >= _FIRST_MS) & (scaled <= _LAST_MS)
    unit = f"since 1970 in {config.unit}"
    typical = float(np.median(scaled[present])) if present.any() else 0.0
    if abs(typical) > _YEAR_2200_MS:
        judge(raw, name, f"moments {unit}", _mask(present), report, "set another time.unit")
    year = round(1970 + typical * 1000 / _YEAR_MS)
    if config.unit != "s" and 1985 < year < 2100:
        raise SourceError(
            f"source.{raw.table}: column {name!r}, read as time {unit}, lies within the first "
            f"weeks of 1970; the first cell is in {raw.example(0, [name])}",
            f"set time.unit to the next coarser unit (then it is about {year})",
        )
    judge(raw, name, f"moments {unit}", _mask(present & ~in_calendar), report)
    good = present & in_calendar
    return _times(np.where(good, scaled, 0).astype(np.int64), ~good)


def _milliseconds(raw: Raw, name: str, unit: str, report: IngestReport) -> NDArray[np.float64]:
    """Return a column of numbers in a unit as whole milliseconds, NaN where there is none."""
    column = raw.columns[name]
    if column.type == pa.string():
        whole = pc.all(pc.match_substring_regex(column, _WHOLE)).as_py() is not False
    else:
        whole = pa.types.is_integer(column.type) and column.type != pa.uint64()
    if whole and unit != "s":
        # Nanoseconds need all digits of an integer; milliseconds fit into a float.
        ticks = column.cast(pa.int64())
        counts = ticks.fill_null(0).to_numpy() // _PER_MS[unit]
        found: NDArray[np.float64] = np.where(ticks.is_null().to_numpy(), np.nan, counts)
    elif unit == "s":
        found = np.rint(numbers(raw, name, report).to_numpy() * 1000)
    else:
        found = np.rint(numbers(raw, name, report).to_numpy() / _PER_MS[unit])
    return found


def _from_timestamps(
    raw: Raw, name: str, column: pa.ChunkedArray, config: TimeFormat, report: IngestReport
) -> pa.ChunkedArray:
    counts = column.cast(pa.int64())
    missing = counts.is_null().to_numpy()
    ticks = counts.fill_null(0).to_numpy()
    unit = column.type.unit
    lasting = _LAST_MS // 1000 if unit == "s" else np.iinfo(np.int64).max
    in_range = np.abs(ticks) <= lasting
    ticks = np.where(in_range, ticks, 0)
    milliseconds = ticks * 1000 if unit == "s" else ticks // _PER_MS[unit]
    in_range &= (milliseconds >= _FIRST_MS) & (milliseconds <= _LAST_MS)
    judge(raw, name, "moments up to the year 9999", _mask(~missing & ~in_range), report)
    missing |= ~in_range
    milliseconds = np.where(missing, 0, milliseconds)
    if column.type.tz is None and config.zone != "UTC":
        local = pd.DatetimeIndex(milliseconds.astype("datetime64[ms]"))
        milliseconds = _localized(local, config.zone).as_unit("ms").asi8
    return _times(milliseconds, missing)


def _from_texts(
    raw: Raw, name: str, column: pa.ChunkedArray, config: TimeFormat, report: IngestReport
) -> pa.ChunkedArray:
    frame = pd.Series(column.to_pandas(), dtype=object)
    form = config.format or "ISO8601"
    own_zone = frame.str.contains(_OFFSET, regex=True, na=False).to_numpy(bool)
    if config.format is not None:
        own_zone[:] = "%z" in config.format
    parsed = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[ns, UTC]")
    if own_zone.any():
        parsed[own_zone] = pd.to_datetime(frame[own_zone], format=form, errors="coerce", utc=True)
    if not own_zone.all():
        local = pd.to_datetime(frame[~own_zone], format=form, errors="coerce")
        parsed[~own_zone] = _localized(pd.DatetimeIndex(local), config.zone)
    missing = parsed.isna().to_numpy(bool)
    values = parsed.to_numpy("datetime64[ms]").astype(np.int64)
    for row in np.flatnonzero(missing & frame.notna().to_numpy(bool)):
        # pandas ends in 2262; years up to 9999 are for validation to judge.
        late = _late(frame.iloc[row], config)
        if late is not None:
            values[row], missing[row] = late, False
    wrong = _mask(missing & frame.notna().to_numpy(bool))
    wanted = f"moments written as {config.format}" if config.format else "moments in ISO 8601"
    judge(raw, name, wanted, wrong, report, "set time.format (strptime), or time.unit of numbers")
    return _times(np.where(missing, 0, values), missing)


def _late(text: str, config: TimeFormat) -> int | None:
    try:
        if config.format is None:
            moment = datetime.fromisoformat(text)
        else:
            moment = datetime.strptime(text, config.format)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(config.zone))
    try:
        return round(moment.timestamp() * 1000)
    except (OverflowError, ValueError):
        return None


def _localized(local: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """Take clock times as those of a zone; the hour that comes twice is its first coming."""
    first = np.ones(len(local), bool)
    return local.tz_localize(zone, ambiguous=first, nonexistent="shift_forward").tz_convert("UTC")


def _mask(values: NDArray[np.bool_]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values)])


def _times(milliseconds: NDArray[np.int64], missing: NDArray[np.bool_]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(milliseconds, mask=missing).cast(TIME)])
