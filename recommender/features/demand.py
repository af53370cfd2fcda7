"""Demand: how often items and categories were taken, period by period, before a moment.

The grid is regular and complete: every period between a series' start and the moment is there,
zeros included. Only periods that ended at or before the moment are, since a running one would look
like a slump. So nothing at or after the moment can leave a trace.

Shape letters: S series, I items, C categories, T periods, N pairs of a series and a period in which
there was demand (sparse).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config import Config
from recommender.config.trends import PERIOD_MS
from recommender.features.sequences import EventLog, Ints

Doubles = NDArray[np.float64]

# The first Monday after 1970-01-01, which was a Thursday: weeks begin there.
_MONDAY_MS = 4 * PERIOD_MS["day"]


@dataclass(frozen=True)
class Demand:
    """Demand series on one grid, stored sparsely.

    Attributes:
        names: of the series, (S,).
        first: start of the grid's first period, UTC milliseconds.
        period: length of a period, milliseconds.
        periods: T, the length of the grid.
        starts: each series' first period, (S,); T where it hasn't begun.
        offsets: series s has `[offsets[s], offsets[s + 1])` of the next two, (S + 1,).
        places: periods with demand, rising within a series, (N,).
        counts: how much, (N,).
    """

    names: tuple[str, ...]
    first: int
    period: int
    periods: int
    starts: Ints
    offsets: Ints
    places: Ints
    counts: Ints

    def __len__(self) -> int:
        return len(self.names)

    @property
    def owners(self) -> Ints:
        """The series of each pair, (N,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def totals(self) -> Ints:
        """The whole demand of each series, (S,)."""
        return np.bincount(self.owners, self.counts, minlength=len(self)).astype(np.int64)

    @property
    def lengths(self) -> Ints:
        """Periods of each series, (S,)."""
        return self.periods - self.starts

    def series(self, row: int) -> Doubles:
        """Return one series from its start on, (T - start,)."""
        start = self.starts[row]
        return np.asarray(self.dense(np.array([row]))[0, start:])

    def dense(self, rows: Ints) -> Doubles:
        """Return some series over the whole grid, zero before their start, (len(rows), T)."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        owners = np.repeat(np.arange(len(rows)), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        found = np.repeat(self.offsets[rows], lengths) + within
        values_ST = np.zeros((len(rows), self.periods))
        values_ST[owners, self.places[found]] = self.counts[found]
        return values_ST

    def before(self, periods: int) -> Demand:
        """Return what could be seen `periods` after the grid's start: a backtest's past.

        A series' start was known then too, unless it hadn't begun.
        """
        keep = self.places < periods
        counts = np.bincount(self.owners[keep], minlength=len(self))
        return Demand(
            self.names,
            self.first,
            self.period,
            periods,
            np.minimum(self.starts, periods),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            self.places[keep],
            self.counts[keep],
        )


def item_demand(log: EventLog, items: pa.Table, config: Config, as_of: int) -> Demand:
    """Count the successes (`actions.success`) of every item, period by period.

    A series starts with the period in which the item was first taken (a history event) or
    `created`, whichever is earlier; never before the log's own first period, since what was
    not logged is not zero.

    Args:
        log: at least of the events that make up histories; other types are not read.
        items: the canonical item table in catalogue order; a series each, S = I.
        config: what a success is; the period; how many periods back to look.
        as_of: UTC milliseconds; events at or after it are not read.
    """
    trends = config.features.trends
    period = trends.period_ms
    origin = _MONDAY_MS if trends.period == "week" else 0
    known = log.times < as_of
    end = (as_of - origin) // period  # the first period that has not ended
    taken = known & np.isin(log.actions, [config.actions.code(n) for n in config.actions.histories])
    places = (log.times[taken] - origin) // period
    first = int(max(places.min(initial=end), end - trends.periods_back))
    periods = int(end - first)

    starts = np.full(items.num_rows, end, np.int64)
    np.minimum.at(starts, log.items[taken], places)
    created = items["created"].cast(pa.int64()).fill_null(as_of).to_numpy()
    starts = np.minimum(starts, (created - origin) // period)
    starts = np.clip(starts - first, 0, periods)

    success = np.isin(
        log.actions[taken], [config.actions.code(name) for name in config.actions.successes]
    )
    inside = success & (places >= first) & (places < end)
    keys = log.items[taken][inside].astype(np.int64) * max(periods, 1) + places[inside] - first
    keys, counts = np.unique(keys, return_counts=True)
    names = tuple(items["item_id"].to_pylist())
    return _sparse(names, origin + first * period, period, periods, starts, keys, counts)


@dataclass(frozen=True)
class Categories:
    """The demand of categories, and which items are in them.

    Attributes:
        demand: a series per category, by name, and last ("") one of all items together, (C,).
        owners: the item of each membership, rising, (M,).
        members: its category, a row of `demand`, (M,); all items together are no category.
    """

    demand: Demand
    owners: Ints
    members: Ints


def category_demand(demand: Demand, items: pa.Table) -> Categories:
    """Add up the demand of the items of each category, and of all items.

    An item in several categories counts in each. A category starts with its first item.

    Args:
        demand: of the items.
        items: the canonical item table in the same order.
    """
    named = [
        sorted({name for name in row or () if name}) for row in items["categories"].to_pylist()
    ]
    names = sorted({name for row in named for name in row})
    index = {name: row for row, name in enumerate(names)}
    width = np.array([len(row) for row in named], np.int64)
    owners = np.repeat(np.arange(len(named)), width)
    members = np.array([index[name] for row in named for name in row], np.int64)

    starts = np.full(len(names) + 1, demand.periods, np.int64)
    np.minimum.at(starts, members, demand.starts[owners])
    starts[-1] = demand.starts.min(initial=demand.periods)
    # Every pair of an item and a period counts once for each of the item's categories, and once
    # for all items together.
    item = demand.owners
    repeats = width[item]
    within = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    begin = np.cumsum(width) - width
    category = members[np.repeat(begin[item], repeats) + within]
    series = np.concatenate([category, np.full(len(item), len(names), np.int64)])
    places = np.concatenate([np.repeat(demand.places, repeats), demand.places])
    weights = np.concatenate([np.repeat(demand.counts, repeats), demand.counts])
    keys, where = np.unique(series * max(demand.periods, 1) + places, return_inverse=True)
    counts = np.bincount(where, weights, minlength=len(keys)).astype(np.int64)
    grid = (demand.first, demand.period, demand.periods)
    return Categories(_sparse((*names, ""), *grid, starts, keys, counts), owners, members)


def _sparse(
    names: tuple[str, ...],
    first: int,
    period: int,
    periods: int,
    starts: Ints,
    keys: Ints,
    counts: Ints,
) -> Demand:
    """Make a `Demand` of rising keys `series * periods + place`."""
    owners, places = np.divmod(keys, max(periods, 1))
    offsets = np.searchsorted(owners, np.arange(len(names) + 1)).astype(np.int64)
    return Demand(names, first, period, periods, starts, offsets, places, counts)
