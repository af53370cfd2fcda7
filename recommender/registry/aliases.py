"""`candidate` and `champion`: one small document, changed by compare-and-swap.

Both aliases and their history are in the same object, so that no reader ever sees one of them
moved and the other not yet.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from recommender.errors import RegistryError
from recommender.registry.lineage import encode, now
from recommender.storage import StorageConflictError, Store

KEY = "aliases.json"
_ATTEMPTS = 30


@dataclass(frozen=True)
class Move:
    """One change of an alias.

    Attributes:
        alias: `candidate` or `champion`.
        version: what it names from then on; None: nothing.
        previous: what it named before.
        run_id: of the run that moved it.
        reason: in a few words, for people.
        time: UTC, ISO 8601.
    """

    alias: str
    version: str | None
    previous: str | None
    run_id: str
    reason: str
    time: str


@dataclass(frozen=True)
class Aliases:
    """What the aliases name, and how it came to that (oldest move first)."""

    candidate: str | None = None
    champion: str | None = None
    history: tuple[Move, ...] = ()

    def moved(self, alias: str, version: str | None, run_id: str, reason: str) -> Aliases:
        """Return the document after one move; unchanged if the alias names `version` already."""
        previous = getattr(self, alias)
        if previous == version:
            return self
        move = Move(alias, version, previous, run_id, reason, now())
        history = (*self.history, move)
        if alias == "champion":
            return replace(self, champion=version, history=history)
        return replace(self, candidate=version, history=history)


def read(store: Store) -> Aliases:
    """Return the aliases; both name nothing in a new registry.

    Raises:
        RegistryError: the document is damaged.
    """
    return _read(store)[0]


def update(store: Store, change: Callable[[Aliases], Aliases]) -> Aliases:
    """Change the document; `change` is called again on fresh content if another writer was first.

    Args:
        store: the registry's.
        change: from the document as it is to what it shall be; what it raises goes through.

    Raises:
        RegistryError: too many other writers came first, every time.
    """
    for attempt in range(_ATTEMPTS):
        before, etag = _read(store)
        after = change(before)
        if after == before:
            return before
        content = encode(asdict(after), "the alias document")
        try:
            if etag is None:
                store.write_bytes(KEY, content, if_absent=True)
            else:
                store.write_bytes(KEY, content, if_match=etag)
        except StorageConflictError:
            # Random, so that two writers don't meet again at the next try.
            time.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 5)))  # noqa: S311
        else:
            return after
    raise RegistryError(
        f"{store.location}/{KEY} was changed by others {_ATTEMPTS} times in a row",
        "see which other run is promoting (`history` in that file), then run again",
    )


def _read(store: Store) -> tuple[Aliases, str | None]:
    if not store.exists(KEY):
        return Aliases(), None
    blob = store.read(KEY)
    try:
        found = json.loads(blob.data)
        history = tuple(Move(**move) for move in found.pop("history"))
        return Aliases(**found, history=history), blob.etag
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RegistryError(f"{store.location}/{KEY} is damaged: {error}") from error
