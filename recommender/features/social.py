"""What those whom somebody follows took: the only thing that is told of a follow graph.

Edges are rows (`user`, `followed_user`, `since`), both users as pseudonyms. Of them and the events
before a cut comes, for everybody who follows somebody, a text that travels with what else is known
of the person: a JSON object of item ids and how many of those followed took each. So a model holds
no edge and no person, and forgetting whoever follows or is followed is a matter of the edges and
the log.

Shape letters: N edges.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from recommender.features.sequences import Catalogue, EventLog
from recommender.followed_took import FOLLOWED_TOOK, attribute_of
from recommender.privacy import Pseudonyms

FOLLOWS = pa.schema(
    [
        pa.field("user", pa.string(), nullable=False),
        pa.field("followed_user", pa.string(), nullable=False),
        pa.field("since", pa.int64()),
    ]
)
"""Who follows whom, pseudonyms, and since when, UTC milliseconds (null: not known)."""

_MOST_ITEMS = 100
"""Of one person: what the fewest of those followed took is cut off."""

_MOST_FOLLOWED = 500
"""Of one person: more than so many would say what everybody likes, in a row that only grows."""


class Followed(NamedTuple):
    """What is known of those whom one person follows.

    Attributes:
        took: a JSON object: item id → how many of those followed took it.
        users: pseudonyms of those that were counted, sorted.
    """

    took: str
    users: tuple[str, ...]


def hidden(edges: pa.Table, names: Pseudonyms) -> pa.Table:
    """Return a follow graph of raw ids as `FOLLOWS`, in the same order.

    Args:
        edges: as `recommender.tables.FOLLOWS`.
        names: make the pseudonyms.
    """
    ends = [names.of_all(edges[column].to_pylist()) for column in ("user_id", "followed_user_id")]
    columns = [pa.array(each, pa.string()) for each in ends]
    return pa.table([*columns, edges["since"].cast(pa.int64())], schema=FOLLOWS)


def followed(
    follows: pa.Table, successes: EventLog, catalogue: Catalogue, cut: int
) -> dict[str, Followed]:
    """Return what is known for everybody who follows somebody that took something.

    Args:
        follows: as `FOLLOWS`. An edge since the cut or later is not read; one without a moment is.
        successes: the events that count as taken; users as pseudonyms.
        catalogue: the items of these events.
        cut: nothing at or after this moment (ms) is read.

    Returns:
        by pseudonym of whoever follows.
    """
    known = successes.before(cut)
    rows = {user: row for row, user in enumerate(known.users)}
    took: dict[str, Counter[int]] = defaultdict(Counter)
    counted: dict[str, list[str]] = defaultdict(list)
    for user, other in _latest_first(follows, cut):
        row = rows.get(other)
        if row is None or len(counted[user]) == _MOST_FOLLOWED:
            continue
        first, stop = known.offsets[row], known.offsets[row + 1]
        if first < stop:
            took[user].update(np.unique(known.items[first:stop]).tolist())
            counted[user].append(other)
    return {
        user: Followed(_told(items, catalogue), tuple(sorted(counted[user])))
        for user, items in took.items()
    }


def with_followed(log: EventLog, told: dict[str, Followed]) -> EventLog:
    """Return a log whose people come with what those whom they follow took.

    Args:
        log: of pseudonyms; what it knows of people besides stays.
        told: of `followed`.
    """
    if not told:
        return log
    people = log.people or (None,) * len(log.users)
    return replace(
        log,
        people=tuple(
            {**(person or {}), FOLLOWED_TOOK: told[user].took} if user in told else person
            for user, person in zip(log.users, people, strict=True)
        ),
    )


def _latest_first(follows: pa.Table, cut: int) -> list[tuple[str, str]]:
    """Return the edges from before a cut, each once, the latest first, then by pseudonyms."""
    latest: dict[tuple[str, str], int] = {}
    columns = (follows[name].to_pylist() for name in FOLLOWS.names)
    for user, other, since in zip(*columns, strict=True):
        moment = -1 if since is None else since
        if moment < cut:
            latest[user, other] = max(moment, latest.get((user, other), -1))
    return sorted(latest, key=lambda edge: (-latest[edge], edge))


def _told(items: Counter[int], catalogue: Catalogue) -> str:
    chosen = sorted(items.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_ITEMS]
    return attribute_of({catalogue.ids[item]: count for item, count in chosen})
