"""One person, and what counts as a mention of them: by id, by pseudonym, by the keys of stores.

An id alone says little: `42` is also an item, a second, a count, and `u1` is the beginning of
`u10`. So ids are compared cell by cell where a file has cells, and only in cells that can hold a
person; in running text they must stand by themselves. Ids that are mere numbers, plain words or
very short must even be called a user's: by the name of the column, or by the words before them.
Pseudonyms and the keys of stores are unmistakable: any bytes are searched for those.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from recommender.privacy import Pseudonyms

OTHER_NAMES = frozenset(
    [
        "action",
        "actions",
        "age",
        "arrival",
        "arrivals",
        "attributes",
        "brand",
        "categories",
        "category",
        "content_hash",
        "country",
        "data_version",
        "encoder",
        "event",
        "event_id",
        "event_ids",
        "events",
        "exclude",
        "feature_name",
        "features",
        "further",
        "gender",
        "item",
        "item_id",
        "item_ids",
        "items",
        "left_out",
        "method",
        "model",
        "numbers",
        "popularity",
        "price",
        "project",
        "reason",
        "sentence",
        "surface",
        "surfaces",
        "text",
        "texts",
        "time",
        "times",
        "title",
        "titles",
        "value",
        "values",
        "vector",
        "vectors",
        "version",
    ]
)
"""Columns and keys that hold no user ids, so that an equal text there means something else."""

_PEOPLE = re.compile(r"user|customer|visitor|person|entity", re.IGNORECASE)
_CALLED = r"(?i:\b(?:user|customer|visitor|person)s?(?:[ _-]?ids?)?)[^0-9A-Za-z]{1,8}"
# What may not touch an id that stands by itself. A full stop ends a sentence, or joins two parts.
_BEFORE, _AFTER = r"(?<![\w@+-])(?<!\w\.)", r"(?![\w@+-])(?!\.\w)"
_SHORT = 4
_PLAIN = re.compile(r"[\d.,-]+|[^\W\d_]+")
_TELLING_BYTES = 6
"""Shorter ids turn up in weights and pictures by chance."""


@dataclass(frozen=True)
class Person:
    """Somebody to be forgotten.

    Attributes:
        user_id: as in the canonical tables.
        pseudonym: what stands for it outside the feature store.
        ticket: names the case on the certificate; says nothing of the person without the key.
        keys: exact bytes under which stores keep the person (the entity key, say).
    """

    user_id: str
    pseudonym: str
    ticket: str
    keys: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, user_id: str, names: Pseudonyms, keys: tuple[bytes, ...] = ()) -> Person:
        """Return the person behind an id."""
        return cls(user_id, names.of(user_id), names.derived("forgetting", user_id), keys)

    @property
    def vague(self) -> bool:
        """Whether the id is a number, a word or very short, so that by itself it says nothing."""
        return len(self.user_id) < _SHORT or _PLAIN.fullmatch(self.user_id) is not None

    def may_be_in(self, name: str) -> bool:
        """Tell whether a column or key of this name may hold the id."""
        if name in OTHER_NAMES:
            return False
        return not self.vague or _PEOPLE.search(name) is not None

    def is_cell(self, text: str, name: str) -> bool:
        """Tell whether a whole cell is this person.

        Args:
            text: the cell.
            name: of its column or key.
        """
        if text == self.user_id:
            return self.may_be_in(name)
        return text == self.pseudonym

    def is_in_text(self, text: str) -> bool:
        """Tell whether running text names this person."""
        return self.pseudonym in text or self.mentions.search(text) is not None

    def is_in_bytes(self, data: bytes, *, binary: bool) -> bool:
        """Tell whether raw bytes name this person.

        Args:
            data: of a file.
            binary: whether they are no text, so that short ids could be there by chance.
        """
        if self.is_marked_in(data):
            return True
        if binary and (self.vague or len(self.user_id.encode()) < _TELLING_BYTES):
            return False
        return self._mentions_in_bytes.search(data) is not None

    def is_marked_in(self, data: bytes) -> bool:
        """Tell whether raw bytes hold what is unmistakable: the pseudonym, or a store's key."""
        marks = (self.pseudonym.encode(), bytes.fromhex(self.pseudonym), *self.keys)
        return any(mark in data for mark in marks)

    @cached_property
    def mentions(self) -> re.Pattern[str]:
        """Matches the id where it stands by itself in text, however it is escaped."""
        either = "|".join(re.escape(form) for form in self._forms)
        called = _CALLED if self.vague else ""
        return re.compile(f"{called}{_BEFORE}(?:{either}){_AFTER}")

    @cached_property
    def anywhere(self) -> re.Pattern[str]:
        """Matches the pseudonym, or the id where it stands by itself."""
        return re.compile(f"{self.pseudonym}|{self.mentions.pattern}")

    @cached_property
    def _mentions_in_bytes(self) -> re.Pattern[bytes]:
        return re.compile(self.mentions.pattern.encode())

    @property
    def _forms(self) -> tuple[str, ...]:
        """The ways in which the id is written: plain, and escaped for JSON, HTML and URLs."""
        plain = self.user_id
        forms = (
            plain,
            json.dumps(plain)[1:-1],
            json.dumps(plain, ensure_ascii=False)[1:-1],
            html.escape(plain),
            html.escape(plain, quote=False),
            quote(plain, safe=""),
        )
        return tuple(dict.fromkeys(forms))
