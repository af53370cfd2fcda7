"""Text files whose encoding may not be what it should be."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from recommender.errors import SourceError

_CHUNK = 1 << 20


def chunks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, uncompressed if its ending says .gz, .bz2 or .zst.

    Raises:
        SourceError: it can't be read or is damaged.
    """
    try:
        with pa.input_stream(path, compression="detect") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (OSError, pa.ArrowException) as error:
        raise SourceError(
            f"{path} can't be read: {error}", "check its permissions, or fetch it again"
        ) from error


def check_not_empty(path: Path) -> None:
    """Refuse a file without content.

    Raises:
        SourceError: it is empty or can't be read.
    """
    if not any(chunk.strip() for chunk in chunks(path)):
        raise SourceError(f"{path} is empty", "the export may have failed; write it again")


def check_encoding(path: Path, encoding: str) -> None:
    """Find the first byte that isn't text in `encoding`.

    Raises:
        SourceError: there is one; the message names line, byte and the key to set.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, line = 0, 1
    pending = 0  # bytes of an unfinished character that the decoder holds back
    for chunk in _with_end(chunks(path)):
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            at = offset - pending + error.start
            line += error.object[: error.start].count(b"\n")
            raise SourceError(
                f"{path}: line {line} is not {encoding} text "
                f"(byte 0x{error.object[error.start]:02x} at offset {at:,})",
                "say how the file is written, for instance `encoding: latin-1` or `cp1252`, "
                "under the `location` of this file in the configuration",
            ) from None
        offset += len(chunk)
        line += chunk.count(b"\n")
        pending = len(decoder.getstate()[0])


def _with_end(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces
    yield b""


def transcoded(path: Path, encoding: str, target: Path) -> None:
    """Write a file's text as uncompressed UTF-8 to `target`.

    Raises:
        SourceError: it isn't text in `encoding`, or can't be read.
    """
    check_encoding(path, encoding)
    decoder = codecs.getincrementaldecoder(encoding)()
    with target.open("w", encoding="utf-8", newline="") as out:
        for chunk in chunks(path):
            out.write(decoder.decode(chunk))
