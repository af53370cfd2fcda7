"""A person in logs and pages: the lines and the pieces that name them are blanked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from recommender.errors import StorageError
from recommender.forgetting.documents import BLANK, line_names
from recommender.forgetting.person import Person

_PIECE = re.compile(r"[^<>]+")


def without_in_page(page: str, person: Person) -> tuple[str, int]:
    """Return an HTML page in which every piece of text that names the person is blanked.

    A piece is what stands between two tags: a cell, an example, a list entry.
    """
    removed = 0

    def blank(match: re.Match[str]) -> str:
        nonlocal removed
        piece = match.group()
        if person.anywhere.search(piece) is None:
            return piece
        removed += 1
        inside_tag = page[match.start() - 1 : match.start()] == "<"
        return person.anywhere.sub("forgotten", piece) if inside_tag else BLANK

    return _PIECE.sub(blank, page), removed


def erase_lines(path: Path, person: Person) -> int:
    """Overwrite the lines of a log that name the person, in place; its length stays.

    In place, because a server may have the file open and go on writing where it was.

    Raises:
        StorageError: the file can't be written.
    """
    return _overwrite(
        path, lambda line: person.is_in_bytes(line, binary=False), lambda size: b"#" * size
    )


def erase_records(path: Path, person: Person) -> int:
    """Overwrite the JSON lines that name the person by empty records, in place, like a log's.

    Raises:
        StorageError: the file can't be written.
    """
    return _overwrite(
        path,
        lambda line: line_names(line.decode("utf-8", "surrogateescape"), person),
        lambda size: b"{}".ljust(size),
    )


def _overwrite(path: Path, named: Callable[[bytes], bool], filler: Callable[[int], bytes]) -> int:
    removed, start = 0, 0
    try:
        with path.open("r+b") as stream:
            for line in path.read_bytes().splitlines(keepends=True):
                body = line.rstrip(b"\r\n")
                if named(body):
                    stream.seek(start)
                    stream.write(filler(len(body)))
                    removed += 1
                start += len(line)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    return removed
