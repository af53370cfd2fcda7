"""What a commit does, who makes it, and how it is told to people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """Who commits."""

    name: str
    email: str


@dataclass(frozen=True)
class Change:
    """What a commit does.

    Attributes:
        files: contents by path in the repository; None removes a file.
        message: of the commit.
    """

    files: Mapping[str, str | None]
    message: str


@dataclass(frozen=True)
class Commit:
    """One commit, for people.

    Attributes:
        id: its hash.
        author: name and address.
        subject: first line of its message.
    """

    id: str
    author: str
    subject: str

    def __str__(self) -> str:
        return f"{self.id[:12]} by {self.author} ({self.subject})"
