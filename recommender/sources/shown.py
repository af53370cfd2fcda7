"""What the served endpoint showed and what came of it, as canonical events of the next run.

An item that was shown and came to nothing is an impression at the moment of its list. One with a
success is that success instead, at its own moment: a log holds one row with a position per shown
item (`recommender/features/cases.py`). Further actions are events without a position.

`propensity` becomes that of the item at its place whatever the other places hold (`marginal`):
the estimators that read it (`recommender/evaluation/logged.py`) weigh every place by itself.

Only lists of the live lane up to the last feedback count: of a later one, or where nobody ever
tells what comes of lists, nobody knows whether it came to nothing.

Shape letters: N served rows, F rows of feedback.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.config import Config
from recommender.errors import ConfigError
from recommender.privacy import Pseudonyms, pseudonyms
from recommender.served import distinct_feedback, distinct_served, rows_of
from recommender.served_store import store_of
from recommender.sources.content import content_hash
from recommender.sources.versions import Streamed
from recommender.tables import EVENTS, Tables

IMPRESSION = "impression"
"""The event type of what came to nothing, where the config names no other."""

_LIVE = "live"


class Outcome(NamedTuple):
    """Canonical tables, and what became of the log.

    Attributes:
        tables: with what was shown and what came of it, sorted by (time, event_id).
        impressions: shown items that came to nothing.
        actions: what came of shown items.
        unknown: of people or items that the tables lack.
    """

    tables: Tables
    impressions: int
    actions: int
    unknown: int


def shown_events(config: Config, *, compact: bool = True) -> Streamed | None:
    """Return what the log of served lists adds to the next run's tables; None: nothing.

    Args:
        config: of the data set.
        compact: join the files of each finished day into one on the way; else nothing is written.

    Raises:
        ConfigError: `serving.log.impression` is no event type, or makes history.
        StorageError: the log can't be read.
    """
    log = config.serving.log
    impression = _impression(config)
    if not log.ingest or log.sink == "none":
        return None
    store = store_of(log, config.paths)
    if compact:
        for kind in ("served", "feedback"):
            store.compact(kind)
    feedback = store.read("feedback")
    if not len(feedback):
        return None
    served = store.read("served")
    served = served.filter(
        pc.and_(
            pc.and_(pc.equal(served["lane"], _LIVE), pc.not_equal(served["user"], "")),
            pc.less_equal(served["time"], pc.max(feedback["received"])),
        )
    )
    attribution_ms = int(config.serving.feedback.attribution_s * 1000)
    said = f"{content_hash(served)} {content_hash(feedback)} {attribution_ms} {impression}"

    def add(tables: Tables) -> tuple[Tables, str]:
        names = pseudonyms(config.paths.keys)
        found = with_shown(tables, served, feedback, names, config, impression, attribution_ms)
        told = (
            f"{found.impressions:,} items that were shown and {found.actions:,} actions on such "
            "were added from the log of served lists"
        )
        more = f", {found.unknown:,} of unknown people or items left out" if found.unknown else ""
        return found.tables, told + more

    return Streamed(hashlib.sha256(said.encode()).hexdigest()[:16], add)


def with_shown(
    tables: Tables,
    served: pa.Table,
    feedback: pa.Table,
    names: Pseudonyms,
    config: Config,
    impression: str | None,
    attribution_ms: int,
) -> Outcome:
    """Add served lists and feedback to canonical tables.

    An event that the tables hold already (it was sent on to the stream, too) is replaced: this one
    knows its place and propensity.

    Args:
        tables: canonical.
        served: as `recommender.served.SERVED`; only lists of the live lane.
        feedback: as `recommender.served.FEEDBACK`.
        names: the pseudonyms that the log was written with.
        config: which event types there are, and which are a success.
        impression: event type of what came to nothing; None: there is none.
        attribution_ms: longest time from a list to a success that is put down to it.
    """
    shown, told = distinct_served(served), distinct_feedback(feedback).sort_by("time")
    rows = rows_of(shown, told)
    told, rows = told.filter(pa.array(rows >= 0)), rows[rows >= 0]
    first_N = _first_successes(shown, told, rows, config.actions.successes, attribution_ms)
    placed = np.zeros(len(told), bool)
    placed[first_N[first_N >= 0]] = True
    people = _people(tables, names)
    users = pc.index_in(shown["user"], people["user"].combine_chunks())
    user_N = people["user_id"].combine_chunks().take(users.combine_chunks())
    came = _came(shown, told, rows, user_N, placed)
    parts = [came]
    if impression is not None:
        nothing = np.flatnonzero(first_N < 0)
        parts.append(_impressions(shown.take(nothing), user_N.take(nothing), impression))
    every = pa.concat_tables(parts)
    known = pc.and_(
        pc.and_(
            pc.is_valid(every["user_id"]),
            pc.is_in(every["item_id"], tables.items["item_id"].combine_chunks()),
        ),
        pc.is_in(every["event"], pa.array(config.actions.types, pa.string())),
    )
    added = every.filter(known)
    if not len(added):
        return Outcome(tables, 0, 0, len(every))
    held = tables.events.filter(
        pc.invert(pc.is_in(tables.events["event_id"], added["event_id"].combine_chunks()))
    )
    events = pa.concat_tables([held, added.cast(tables.events.schema)])
    events = events.sort_by([("time", "ascending"), ("event_id", "ascending")])
    nothing_came = pc.sum(pc.equal(added["event"], impression)).as_py() if impression else 0
    return Outcome(
        replace(tables, events=events),
        nothing_came or 0,
        len(added) - (nothing_came or 0),
        len(every) - len(added),
    )


def _impression(config: Config) -> str | None:
    """Return the event type of what came to nothing, or None where there is none."""
    actions, given = config.actions, config.serving.log.impression
    if given is None:
        plain = IMPRESSION in actions.types and IMPRESSION not in actions.histories
        return IMPRESSION if plain else None
    if given not in actions.types or given in actions.histories:
        known = ", ".join(kind for kind in actions.types if kind not in actions.histories)
        raise ConfigError(
            f"serving.log.impression is {given!r}, which is no event type that makes no history",
            f"name one of {known}" if known else "list one in actions.types, not in history",
        )
    return given


def _first_successes(
    shown: pa.Table,
    told: pa.Table,
    rows: NDArray[np.int64],
    successes: tuple[str, ...],
    attribution_ms: int,
) -> NDArray[np.int64]:
    """Return the first success of each served row as a row of `told`, -1 without one, (N,)."""
    delay = _ms(told["time"]) - _ms(shown["time"])[rows]
    good = np.asarray(pc.is_in(told["action"], pa.array(successes, pa.string())))
    counts = np.flatnonzero(good & (delay >= 0) & (delay <= attribution_ms))
    first_N = np.full(len(shown), -1)
    # Backwards, so that the first of each row stays.
    first_N[rows[counts[::-1]]] = counts[::-1]
    return first_N


def _people(tables: Tables, names: Pseudonyms) -> pa.Table:
    """Return everybody whom the tables know, with their pseudonyms."""
    # Who only follows somebody was shown lists, too.
    told = [table for table in (tables.users, tables.events, tables.follows) if table is not None]
    ids = pa.chunked_array([each for t in told for each in t["user_id"].chunks], pa.string())
    known = pc.drop_null(pc.unique(ids))
    return pa.table({"user_id": known, "user": pa.array(names.of_all(known.to_pylist()))})


def _came(
    shown: pa.Table,
    told: pa.Table,
    rows: NDArray[np.int64],
    user_N: pa.Array,
    placed: NDArray[np.bool_],
) -> pa.Table:
    about = shown.take(rows)
    position = pc.if_else(pa.array(placed), about["position"], pa.scalar(None, pa.int32()))
    propensity = pc.if_else(pa.array(placed), _chances(about), pa.scalar(None, pa.float64()))
    return pa.table(
        [
            *(told["event_id"], user_N.take(pa.array(rows)), told["item_id"], told["action"]),
            *(told["time"], told["value"], about["surface"], position, propensity),
        ],
        names=EVENTS.names,
    )


def _impressions(shown: pa.Table, user_N: pa.Array, impression: str) -> pa.Table:
    ids = [
        # Rows of one moment are sorted by id: these keep the order of the places.
        f"sv-{hashlib.blake2b(request.encode(), digest_size=12).hexdigest()}-{place:04}"
        for request, place in zip(
            shown["request_id"].to_pylist(), shown["position"].to_pylist(), strict=True
        )
    ]
    count = len(shown)
    return pa.table(
        [
            *(pa.array(ids, pa.string()), user_N, shown["item_id"]),
            *(pa.array([impression] * count, pa.string()), shown["time"]),
            *(pa.nulls(count, pa.float64()), shown["surface"], shown["position"]),
            _chances(shown),
        ],
        names=EVENTS.names,
    )


def _chances(shown: pa.Table) -> pa.ChunkedArray:
    """Return with which probability each item was at its place; null where nobody knows."""
    # The first place has nothing above it: there both probabilities are the same.
    first = pc.if_else(
        pc.equal(shown["position"], 1), shown["propensity"], pa.scalar(None, pa.float64())
    )
    return pc.coalesce(shown["marginal"], first)


def _ms(times: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(times.cast(pa.int64()).to_numpy())
