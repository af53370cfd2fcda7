"""The catalogue: raw rows to canonical items."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from recommender.config.mapping import ItemColumns, ItemsMapping, TimeFormat
from recommender.config.template import pieces
from recommender.errors import SourceError
from recommender.sources.conditions import dropped, without
from recommender.sources.convert import identifiers, judge, moments, texts
from recommender.sources.further import further_numbers, further_vectors
from recommender.sources.raw import Raw
from recommender.sources.report import IngestReport
from recommender.tables import TIME, relaxed, schema_of

_SPACES = re.compile(r"\s+")
_AMOUNT = r"(?P<sign>-?)[^\d.,-]*(?P<number>\d[\d,]*(?:\.\d+)?|\.\d+)"
# Scraped catalogues hold style sheets where a price should be; no price is that long.
_LONGEST_PRICE = 40


def map_items(
    raw: Raw, mapping: ItemsMapping, sold: pa.Array | None, report: IngestReport
) -> pa.Table:
    """Turn raw rows (one per item) into the canonical catalogue, in the order of the rows.

    Args:
        raw: the rows.
        mapping: which column is what.
        sold: ids that events name, if only those are wanted.
        report: takes what was dropped or could not be read.

    Raises:
        SourceError: a column doesn't hold what it is mapped to, or no item is left.
    """
    report.rows_read["items"] = len(raw)
    raw = dropped(raw, mapping.drop, report)
    columns = mapping.columns
    if sold is not None:
        unsold = ~pc.is_in(identifiers(raw, columns.item), value_set=sold).to_numpy()
        raw = without(raw, unsold, "no event names the item", [columns.item], report)
    if not len(raw):
        raise SourceError(
            f"no item is left of {report.rows_read['items']:,} rows of the catalogue",
            "check source.items: do its ids look like those in the events?",
        )
    titles = _worded(raw, columns.title)
    categories = _categories(raw, columns)
    brands = _nothing(raw, pa.string()) if columns.brand is None else texts(raw, columns.brand)
    made = pa.table(
        {
            "item_id": identifiers(raw, columns.item),
            "title": pa.array(titles, pa.string()),
            "text": _text(raw, columns, titles, categories, brands.to_pylist()),
            "categories": pa.array(categories, pa.list_(pa.string())),
            "brand": brands,
            "price": _prices(raw, columns.price, report),
            "created": _created(raw, columns.created, mapping.created, report),
        }
    )
    if columns.numbers:
        made = made.append_column("numbers", further_numbers(raw, columns.numbers, report))
    if columns.vectors:
        made = made.append_column("vectors", further_vectors(raw, columns.vectors, report))
    return made.cast(relaxed(schema_of("items", made.column_names)))


def _worded(raw: Raw, template: str | None) -> list[str | None]:
    """Fill a template for each row; a row that has none of its columns has no text."""
    if template is None:
        return [None] * len(raw)
    parts = pieces(template)
    cells = {name: texts(raw, name).to_pylist() for _, name in parts if name is not None}
    rows: list[str | None] = []
    for index in range(len(raw)):
        if all(column[index] is None for column in cells.values()):
            rows.append(None)
            continue
        filled = "".join(
            literal + (cells[name][index] or "" if name is not None else "")
            for literal, name in parts
        )
        rows.append(_SPACES.sub(" ", filled).strip() or None)
    return rows


def _categories(raw: Raw, columns: ItemColumns) -> list[list[str] | None]:
    if columns.categories is None:
        return [None] * len(raw)
    cells = raw.columns[columns.categories]
    if not pa.types.is_list(cells.type):
        separator = columns.separator
        split: Sequence[list[str] | None] = [
            None if cell is None else (cell.split(separator) if separator else [cell])
            for cell in texts(raw, columns.categories).to_pylist()
        ]
    else:
        split = cells.to_pylist()
    # Sources repeat categories along their paths; the order of the first coming is kept.
    return [
        None
        if names is None
        else list(dict.fromkeys(name.strip() for name in names if name and name.strip()))
        for names in split
    ]


def _text(
    raw: Raw,
    columns: ItemColumns,
    titles: Sequence[str | None],
    categories: Sequence[list[str] | None],
    brands: Sequence[str | None],
) -> pa.Array:
    if columns.text is not None:
        return pa.array(_worded(raw, columns.text), pa.string())
    joined = (
        ". ".join(part for part in (title, ", ".join(names or ()), brand) if part)
        for title, names, brand in zip(titles, categories, brands, strict=True)
    )
    return pa.array([text or None for text in joined], pa.string())


def _prices(raw: Raw, name: str | None, report: IngestReport) -> pa.ChunkedArray:
    if name is None:
        return _nothing(raw, pa.float64())
    column = raw.columns[name]
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        found = column.cast(pa.float64(), safe=False)
        return pc.if_else(pc.is_finite(found), found, pa.scalar(None, pa.float64()))
    text = texts(raw, name)
    # One comma before one or two digits is a decimal comma, other commas separate thousands.
    text = pc.replace_substring_regex(text, r"^([^,.]*\d),(\d{1,2})(\D*)$", r"\1.\2\3")
    found = pc.extract_regex(text, _AMOUNT)
    brief = pc.less_equal(pc.utf8_length(text), _LONGEST_PRICE)
    readable = pc.and_(pc.is_valid(found), brief)
    judge(raw, name, "a price", pc.invert(readable), report)
    digits = pc.replace_substring(pc.struct_field(found, "number"), ",", "")
    signed = pc.binary_join_element_wise(pc.struct_field(found, "sign"), digits, "")
    return pc.if_else(readable, signed, pa.scalar(None, pa.string())).cast(pa.float64())


def _created(
    raw: Raw, name: str | None, config: TimeFormat, report: IngestReport
) -> pa.ChunkedArray:
    return _nothing(raw, TIME) if name is None else moments(raw, name, config, report)


def _nothing(raw: Raw, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(len(raw), kind)])


def named_items(events: pa.Table) -> pa.Array:
    """Return the ids that events name, each once."""
    return pc.drop_null(pc.unique(events["item_id"]))
