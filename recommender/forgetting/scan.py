"""The proof: every file is looked through again for the id, the pseudonym and the stores' keys.

It doesn't ask the places what they removed. Parquet is decoded column by column, SQLite table by
table, JSON value by value, packed files are unpacked, and the raw bytes of everything are searched
as well, names of files included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from recommender.forgetting import forms
from recommender.forgetting.artifacts import files_of
from recommender.forgetting.person import Person

UNSEEN = (
    "backups and other copies of this folder, and blocks that the file system has freed",
    "the system's temporary folder, where a step that was killed may have left parts of a log",
    "the source itself (the company's log): the suppression list keeps its rows out",
    "other machines' folders, caches and logs, and whoever was sent an answer or a report",
    "Redis's dump and append-only files until it writes them anew; topics of a message broker",
    "whoever was sent served lists by `serving.log.sink: http`; they name people by pseudonym",
    "free texts of the catalogue, such as a review that speaks of somebody",
    "what models learnt: sums over everybody, from which nobody's events can be read back",
)
"""What no scan here can see."""


@dataclass(frozen=True)
class Trace:
    """A place where the person still is.

    Attributes:
        where: the file, relative to what was scanned, or a store.
        count: rows, records or lines.
    """

    where: str
    count: int


@dataclass(frozen=True)
class Scan:
    """What was looked at and what was found.

    Attributes:
        traces: where the person is.
        unreadable: files that can't be decoded, so that nobody can say who is in them.
        files: how many were looked through, by their kind.
        size: of them together, bytes.
    """

    traces: tuple[Trace, ...] = ()
    unreadable: tuple[str, ...] = ()
    files: dict[str, int] = field(default_factory=dict)
    size: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing was found and everything could be read."""
        return not self.traces and not self.unreadable

    def __add__(self, other: Scan) -> Scan:
        return Scan(
            self.traces + other.traces,
            self.unreadable + other.unreadable,
            dict(Counter(self.files) + Counter(other.files)),
            self.size + other.size,
        )


def scan(root: Path, person: Person, skip: Container[Path] = ()) -> Scan:
    """Look for the person in every file of a folder.

    Args:
        root: the folder.
        person: who is looked for.
        skip: files that may name them (the suppression list).
    """
    traces, unreadable = [], []
    kinds: Counter[str] = Counter()
    size = 0
    for path in files_of(root):
        if path in skip:
            continue
        name = path.relative_to(root).as_posix()
        try:
            size += path.stat().st_size
            kinds[forms.form_of(path).value] += 1
            found = forms.count(path, person)
        except FileNotFoundError:  # a server has just removed it
            continue
        except forms.UnreadableError as error:
            unreadable.append(f"{name}: {error.__cause__}")
            continue
        found += person.is_in_text(name)
        if found:
            traces.append(Trace(name, found))
    return Scan(tuple(traces), tuple(unreadable), dict(kinds), size)
