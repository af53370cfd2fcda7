"""Held-out users as traffic: who asks when, and what they took afterwards."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recommender.config import Config
from recommender.features.sequences import Catalogue, EventLog
from recommender.privacy import Pseudonyms
from recommender.split import Fold
from recommender.tables import Tables


@dataclass(frozen=True)
class HeldOutUser:
    """One user of the test window.

    Attributes:
        user_id: as in the tables; needed to ask, written nowhere.
        pseudonym: what is written instead.
        time: of the user's first event of a history type in the window, UTC milliseconds. Of such
            events, none lies between the cut and this moment: a history strictly before it is the
            history as of the cut.
        relevant: items of the user's next success events from that moment on; empty where nothing
            followed by which an answer could be judged.
    """

    user_id: str
    pseudonym: str
    time: int
    relevant: frozenset[str]


def held_out(
    tables: Tables, config: Config, fold: Fold, names: Pseudonyms
) -> tuple[HeldOutUser, ...]:
    """Find the users of a test window, in the order in which they are replayed.

    The order is by a hash of the user id: the same on every machine, and unrelated to anything
    that is known of a user, so that every step of a rollout gets users of the same kind. Another
    hash than the router's, which decides on the arm.

    Args:
        tables: canonical and clean.
        config: which event types are history and success, `exclude_seen`, and the rollout's
            `outcome_events` and `maximum_users`.
        fold: whose window `[test_start, test_end)` is replayed.
        names: of users outside the feature store.
    """
    actions, events = config.actions, tables.events
    catalogue = Catalogue(tuple(tables.items["item_id"].to_pylist()))
    history = EventLog.build(_of_types(events, actions.histories), catalogue, actions)
    window = (history.times >= fold.test_start) & (history.times < fold.test_end)
    users = np.unique(history.user_of_event[window])
    order = sorted(users.tolist(), key=lambda row: _place(history.users[row]))
    successes = [actions.code(name) for name in actions.successes]
    found = []
    for row in order[: config.rollout.maximum_users]:
        start, stop = history.offsets[row], history.offsets[row + 1]
        times = history.times[start:stop]
        inside = slice(
            start + np.searchsorted(times, fold.test_start),
            start + np.searchsorted(times, fold.test_end),
        )
        chosen = np.isin(history.actions[inside], successes)
        items = set(history.items[inside][chosen][: config.rollout.outcome_events].tolist())
        if actions.exclude_seen:
            items -= set(history.items[start : inside.start].tolist())
        user = history.users[row]
        found.append(
            HeldOutUser(
                user,
                names.of(user),
                int(history.times[inside.start]),
                frozenset(catalogue.ids[item] for item in items),
            )
        )
    return tuple(found)


def _of_types(events: pa.Table, types: tuple[str, ...]) -> pa.Table:
    import pyarrow.compute as pc

    return events.filter(pc.is_in(events["event"], value_set=pa.array(types)))


def _place(user_id: str) -> bytes:
    return hashlib.sha256(f"replay\0{user_id}".encode()).digest()
