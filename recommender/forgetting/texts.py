"""A person in logs and pages: the lines and the pieces that name them are blanked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from recommender.errors import StorageError
from recommender.forgetting.documents import BLANK
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


def hashes(length: int) -> bytes:
    """Return what stands for a line of a log."""
    return b"#" * length


def empty_record(length: int) -> bytes:
    """Return what stands for a JSON line, itself one."""
    return b"{}".ljust(length)


def erase_lines(path: Path, person: Person, filler: Callable[[int], bytes] = hashes) -> int:
    """Overwrite the lines that name the person, in place, without changing a file's length.

    In place, because a server may have the file open and go on writing where it was.

    Args:
        path: of the file.
        person: who is to be forgotten.
        filler: returns what stands for a line of so many bytes.

    Raises:
        StorageError: the file can't be written.
    """
    text = path.read_bytes()
    removed, start = 0, 0
    try:
        with path.open("r+b") as stream:
            for line in text.splitlines(keepends=True):
                body = line.rstrip(b"\r\n")
                if person.is_in_bytes(body, binary=False):
                    stream.seek(start)
                    stream.write(filler(len(body)))
                    removed += 1
                start += len(line)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    return removed
