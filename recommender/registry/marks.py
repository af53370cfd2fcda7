"""Marks on versions that saw somebody who has since been forgotten: to be trained again.

A mark lies beside the version and never in it, so what was signed stays as it was. It is written
once and never changed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from recommender.errors import RegistryError
from recommender.registry.lineage import encode, now
from recommender.storage import StorageConflictError, Store

REASON = "a user whose events it saw asked to be forgotten"


@dataclass(frozen=True)
class RetrainMark:
    """Why a version should be trained again.

    Attributes:
        ticket: of the forgetting (see `recommender.forgetting.person.Person`).
        data_version: that the version was trained on.
        certain: whether the user was found in that data; it may be gone from this machine.
        reason: for people.
        time: UTC, ISO 8601.
    """

    ticket: str
    data_version: str
    certain: bool
    reason: str = REASON
    time: str = field(default_factory=now)


def mark(store: Store, version: str, wanted: RetrainMark) -> bool:
    """Write a mark; one of the same ticket that is there stays.

    Returns:
        whether it is new.
    """
    content = encode({"version": version, **asdict(wanted)}, "the mark")
    try:
        store.write_bytes(f"retrain/{version}/{wanted.ticket}.json", content, if_absent=True)
    except StorageConflictError:
        return False
    return True


def read_all(store: Store, version: str) -> tuple[RetrainMark, ...]:
    """Return the marks on a version, the oldest first.

    Raises:
        RegistryError: one is damaged.
    """
    found = []
    for entry in store.list(f"retrain/{version}"):
        try:
            told = json.loads(store.read_bytes(entry.key))
            told.pop("version")
            found.append(RetrainMark(**told))
        except (ValueError, TypeError, KeyError) as error:
            raise RegistryError(f"{entry.key} in the registry is damaged: {error}") from error
    return tuple(sorted(found, key=lambda each: (each.time, each.ticket)))
