"""Where raw files are and how they are written."""

from __future__ import annotations

import codecs
from typing import Literal

from pydantic import Field, field_validator

from recommender.config.section import Section

SHA256 = r"^[0-9a-f]{64}$"


def known_encoding(name: str) -> str:
    """Return `name` if it is a text encoding that Python knows.

    Raises:
        ValueError: it isn't.
    """
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(f"{name!r} is not a text encoding (utf-8, latin-1, cp1252 …)") from None
    return name


class FilesConfig(Section):
    """Files of one kind: where they are and how they are written."""

    location: str
    """A file, folder or zip: a path, `s3://bucket/prefix` or an https URL."""

    pattern: str = "*"
    """Which files of a folder, prefix or zip are meant (`reviews_*.jsonl.gz`); read by name."""

    sha256: str | None = Field(None, pattern=SHA256)
    """Expected checksum of a download; fill in your own."""

    format: Literal["auto", "csv", "jsonl", "parquet", "excel"] = "auto"
    """`auto` goes by the ending; `csv` and `jsonl` may be compressed (.gz, .bz2, .zst)."""

    encoding: str = "utf-8"
    """Text encoding of `csv` and `jsonl`."""

    delimiter: str | None = None
    """What separates the columns of `csv`, one or more characters; default `,` (tab in .tsv)."""

    quoted: bool = True
    """Whether cells of `csv` may be in double quotes (and then hold delimiters and new lines)."""

    header: tuple[str, ...] = ()
    """Column names of a `csv` without a header line."""

    missing: tuple[str, ...] = ()
    """Cells that mean "missing" beside empty ones ("NULL", "(no genres listed)")."""

    _encoding = field_validator("encoding")(known_encoding)
