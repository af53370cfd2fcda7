"""Somebody to look for."""

from __future__ import annotations

from recommender.forgetting.person import Person
from recommender.privacy import Pseudonyms

NAMES = Pseudonyms(b"a key for the tests of forgetting")


def person(user_id: str) -> Person:
    # The keys of stores end in the id's length and the id, so none begins another.
    key = b"user_id" + len(user_id.encode()).to_bytes(4, "little") + user_id.encode()
    return Person.of(user_id, NAMES, (key,))
