"""What those whom somebody follows took: the only thing that is told of a follow graph.

Edges are rows (`user`, `followed_user`), both pseudonyms. Of them and the events before a cut
comes, for everybody who follows somebody, a text that travels with what else is known of the
person: a JSON object of item ids and how many of those followed took each. So a model holds no edge
and no person, and forgetting whoever follows or is followed is a matter of the edges and the log.

Shape letters: N edges.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pyarrow as pa

from recommender.errors import FeatureError
from recommender.features.sequences import Catalogue, EventLog
from recommender.privacy import Pseudonyms

FOLLOWED_TOOK = "followed_took"
"""The attribute of a person that holds the text."""

FOLLOWS = pa.schema(
    [
        pa.field("user", pa.string(), nullable=False),
        pa.field("followed_user", pa.string(), nullable=False),
    ]
)
"""Who follows whom; pseudonyms."""

_MOST_ITEMS = 100
"""Of one person: what the fewest of those followed took is cut off."""


def hidden(edges: pa.Table, names: Pseudonyms) -> pa.Table:
    """Return a follow graph of raw ids as `FOLLOWS`.

    An edge with a missing end, from somebody to themselves, or told again is left out.

    Args:
        edges: its first column says who follows, its second whom, as the log's user ids.
        names: make the pseudonyms.

    Raises:
        FeatureError: there are fewer than two columns.
    """
    if edges.num_columns < 2:
        raise FeatureError(
            f"the follow graph has the columns {edges.column_names}",
            "it needs two: who follows, and whom",
        )
    ends = [edges.column(place).cast(pa.string()).to_pylist() for place in (0, 1)]
    pairs = {(one, other) for one, other in zip(*ends, strict=True) if one and other}
    ordered = sorted((one, other) for one, other in pairs if one != other)
    columns = [names.of_all([pair[place] for pair in ordered]) for place in (0, 1)]
    return pa.table([pa.array(column, pa.string()) for column in columns], FOLLOWS)


def followed_took(
    follows: pa.Table, successes: EventLog, catalogue: Catalogue, cut: int
) -> dict[str, str]:
    """Return the text of everybody who follows somebody that took something.

    Args:
        follows: as `FOLLOWS`.
        successes: the events that count as taken; users as pseudonyms.
        catalogue: the items of these events.
        cut: nothing at or after this moment (ms) is read.

    Returns:
        by pseudonym, a JSON object: item id → how many of those followed took it.
    """
    known = successes.before(cut)
    rows = {user: row for row, user in enumerate(known.users)}
    took: dict[str, Counter[int]] = defaultdict(Counter)
    ends = (follows["user"].to_pylist(), follows["followed_user"].to_pylist())
    for user, followed in sorted(set(zip(*ends, strict=True))):
        row = rows.get(followed)
        if row is not None:
            first, stop = known.offsets[row], known.offsets[row + 1]
            took[user].update(np.unique(known.items[first:stop]).tolist())
    return {user: _told(items, catalogue) for user, items in took.items() if items}


def with_followed(log: EventLog, told: dict[str, str]) -> EventLog:
    """Return a log whose people come with what those whom they follow took.

    Args:
        log: of pseudonyms; what it knows of people besides stays.
        told: of `followed_took`.
    """
    if not told:
        return log
    people = log.people or (None,) * len(log.users)
    return replace(
        log,
        people=tuple(
            {**(person or {}), FOLLOWED_TOOK: told[user]} if user in told else person
            for user, person in zip(log.users, people, strict=True)
        ),
    )


def _told(items: Counter[int], catalogue: Catalogue) -> str:
    chosen = sorted(items.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_ITEMS]
    return json.dumps({catalogue.ids[item]: count for item, count in chosen}, ensure_ascii=False)
