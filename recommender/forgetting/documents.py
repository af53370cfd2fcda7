"""A person in JSON: the records about them are taken out, and texts that name them are blanked.

- An entry of a list that is the person, or a record anywhere inside of which the person is, is
  left out: the innermost such entry, so that a run's summary loses one example and no more.
- A key that is the person is left out with what it holds.
- A longer text that names the person is replaced as a whole.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from dataclasses import dataclass
from typing import Any

from recommender.forgetting.person import Person

# A text of one word is a cell; only one with several may speak of somebody.
_SEVERAL = re.compile(r"[^\w.@+-]")
_CATALOGUE = frozenset({"title", "titles", "text", "brand", "categories"})
_PACKED = "_base64"
BLANK = "(removed: it named a user who asked to be forgotten)"


@dataclass
class _Pruning:
    """One pass over a document; `count` is how many things were taken out or blanked."""

    person: Person
    count: int = 0

    def pruned(self, value: Any, name: str) -> tuple[Any, bool]:
        """Return a value without the person, and whether it still is about them."""
        if isinstance(value, str):
            if self.person.is_cell(value, name):
                return None, True
            return self._text(value, name), False
        if isinstance(value, dict):
            return self._mapping(value, name)
        if isinstance(value, list):
            return self._entries(value, name), False
        return value, False

    def _text(self, text: str, name: str) -> str:
        named = self.person.pseudonym in text
        if not named and name not in _CATALOGUE and _SEVERAL.search(text):
            named = self.person.is_in_text(text)
        if not named and name.endswith(_PACKED):
            named = self.person.is_in_bytes(_unpacked(text), binary=False)
        if named:
            self.count += 1
            return BLANK
        return text

    def _mapping(self, value: dict[str, Any], name: str) -> tuple[dict[str, Any], bool]:
        kept, about = {}, False
        for key, inner in value.items():
            if self.person.is_cell(key, name) or self.person.pseudonym in key:
                self.count += 1
                continue
            kept[key], theirs = self.pruned(inner, key)
            about |= theirs
        return kept, about

    def _entries(self, value: list[Any], name: str) -> list[Any]:
        kept = []
        for entry in value:
            left, theirs = self.pruned(entry, name)
            if theirs:
                self.count += 1
            else:
                kept.append(left)
        return kept


def _unpacked(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def pruned(value: Any, person: Person) -> tuple[Any, int]:
    """Return a JSON value without the person, and how many things were taken out.

    A document that as a whole is about the person keeps its shape, with null where they were.
    """
    pruning = _Pruning(person)
    left, about = pruning.pruned(value, "")
    return left, pruning.count + about


def count(value: Any, person: Person) -> int:
    """Return in how many places a JSON value names the person."""
    return pruned(value, person)[1]


def line_names(line: str, person: Person) -> bool:
    """Tell whether a JSON line, or the torn half of one, names the person."""
    if not line.strip():
        return False
    try:
        return count(json.loads(line), person) > 0
    except ValueError:  # of a writer that was killed
        return person.is_in_text(line)


def pruned_lines(text: str, person: Person) -> tuple[str, int]:
    """Return JSON lines without the records about the person, and how many those were."""
    # Texts may hold other signs that Python, but not JSON lines, takes for ends of lines.
    lines = list(io.StringIO(text))
    kept = [line for line in lines if not line_names(line, person)]
    return "".join(kept), len(lines) - len(kept)
