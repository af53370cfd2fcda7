"""What a user did last, told in a sentence and encoded like item text.

It says what an id can't: a user who has taken three woollen things is near everything woollen,
also what nobody has taken yet. Times are told coarsely, so that the sentence, and with it the
vector, stays the same for as long as nothing happens.

Like every history, it tells of the events strictly before the moment of asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from recommender.config import Config
from recommender.config.text import TextConfig
from recommender.features.item_text import vector_lists
from recommender.features.sequences import EventLog, Histories
from recommender.features.text import TextVectors, clean, describe, encode_texts

CACHE = "behaviour"
"""Which of the caches holds these vectors: apart from item text, because they are about people.
It can be removed at any time."""

_DAY_MS = 24 * 60 * 60 * 1000
_AGO = ((1, "Today"), (7, "This week"), (30, "This month"), (365, "This year"))
_LONG_AGO = "Earlier"
_TITLE = 80
"""Characters of a title; more of one would crowd out the others."""


def titles(items: pa.Table) -> list[str]:
    """Return how a sentence calls each item: its title, or else what is said about it.

    Args:
        items: the canonical item table in catalogue order, (I,).
    """
    said = zip(items["title"].to_pylist(), describe(items), strict=True)
    # Cut before it is cleaned, too: a title of a megabyte is cleaned a million times.
    named = (clean((title or text)[: 10 * _TITLE]) or text for title, text in said)
    return [clean(name[:_TITLE]).rstrip(". ") or "something" for name in named]


def sentences(
    histories: Histories, names: Sequence[str], types: Sequence[str], events: int
) -> list[str]:
    """Tell each history in a sentence, the latest event first.

    Args:
        histories: B histories.
        names: what each item is called, (I,).
        types: event types; the position of one is its code − 1.
        events: most recent events that are told.

    Returns:
        (B,) texts, such as "Today: purchase Red scarf, Hat; click Sock. This week: click Hat";
        empty for an empty history.
    """
    items, actions = histories.items.tolist(), histories.actions.tolist()
    times, now = histories.times.tolist(), histories.now.tolist()
    told = []
    for moment, (start, stop) in zip(now, pairwise(histories.offsets.tolist()), strict=True):
        parts: list[str] = []
        last = when = action = None
        for row in range(stop - 1, max(start, stop - events) - 1, -1):
            this = (_ago(moment - times[row]), actions[row], items[row])
            if this == last:
                continue  # once more the same
            if this[0] != when:
                parts.append(f"{'. ' if parts else ''}{this[0]}: {types[this[1] - 1]} ")
            elif this[1] != action:
                parts.append(f"; {types[this[1] - 1]} ")
            else:
                parts.append(", ")
            parts.append(names[this[2]])
            last, (when, action, _) = this, this
        told.append("".join(parts))
    return told


def user_behaviour(
    log: EventLog, items: pa.Table, config: Config, as_of: int
) -> tuple[pa.Table, TextVectors]:
    """Return the rows of the view `user_behaviour` as of a moment, and how they were encoded.

    Args:
        log: of the events that make up histories.
        items: the canonical item table in catalogue order.
        config: the encoder, and how many events are told.
        as_of: UTC milliseconds; only events strictly before it are told.

    Returns:
        One row per user who has a history: `user_id`, `as_of`, `sentence`, `vector`, `encoder`,
        `content_hash`.

    Raises:
        FeatureError: the encoder can't be fetched or loaded.
        StorageError: the cache can't be written.
    """
    text = config.features.text
    everybody = np.arange(len(log.users), dtype=np.int64)
    moments = np.full(len(everybody), as_of, np.int64)
    histories = log.histories(everybody, moments, text.behaviour_events)
    told = sentences(histories, titles(items), config.actions.types, text.behaviour_events)
    seen = [row for row, said in enumerate(told) if said]
    made = encode_behaviour([told[row] for row in seen], text, config.paths.cache)
    table = pa.table(
        {
            "user_id": pa.array([log.users[row] for row in seen], pa.string()),
            "as_of": pa.array([as_of] * len(seen), pa.int64()),
            "sentence": pa.array(made.texts, pa.string()),
            "vector": vector_lists(made.vectors),
            "encoder": pa.array([made.encoder] * len(seen), pa.string()),
            "content_hash": pa.array(made.hashes, pa.string()),
        }
    )
    return table, made


def encode_behaviour(told: Sequence[str], config: TextConfig, cache: Path) -> TextVectors:
    """Encode sentences with the main encoder; those it has seen before come from the cache.

    Args:
        told: of `sentences`.
        config: the encoder.
        cache: folder of what can be made again (`Workspace.cache`).

    Raises:
        FeatureError: the encoder can't be fetched or loaded.
        StorageError: the cache can't be written.
    """
    return encode_texts(told, config, cache, label="encode user behaviour", kind=CACHE)


def _ago(age_ms: int) -> str:
    days = age_ms / _DAY_MS
    return next((said for limit, said in _AGO if days < limit), _LONG_AGO)
