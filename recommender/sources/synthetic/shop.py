"""The generated shop: visitors come, search and are shown things, click and buy.

What is true (and kept in `Truth`, for tests): a visitor's utility for an item is the sum of a
category interest that drifts as a random walk between visits, a constant taste for styles, the
item's appeal, a season per category, and a pull towards the companions of what was clicked last.
On the surface `search` the visitor picks an item by a softmax over utility. On `home` a logging
policy fills five positions with known propensities; each position is examined with a falling
probability and clicked with the sigmoid of its utility.

Shape letters: U users, I items, C categories, S styles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config.source import SyntheticSource
from recommender.sources.synthetic.catalogue import DAY_MS, Shelf, stock
from recommender.sources.synthetic.follows import follow_graph
from recommender.sources.synthetic.words import AGE_GROUPS, CATEGORIES, COUNTRIES, STYLES
from recommender.tables import EVENTS, TIME, USERS, Tables

START = 1_704_067_200_000
"""1 January 2024, UTC: the first moment of every generated log."""

POSITIONS = 5
PAGES = 4
HOME_SHARE = 0.4
EXAMINE = 1 / np.log2(np.arange(POSITIONS) + 2)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """What really moves the visitors of the generated shop.

    Attributes:
        shelf: the items.
        taste: each user's liking of each style, (U, S).
        interest: each user's category interest at their last visit, (U, C).
        season: amplitude and phase of each category's season, (2, C).
        period_days: length of a season.
    """

    shelf: Shelf
    taste: Floats
    interest: Floats
    season: Floats
    period_days: float

    def seasonal(self, times: Ints) -> Floats:
        """Return each category's seasonal pull at the given moments (ms), (N, C)."""
        return _seasonal(self.season, self.period_days, times)

    def utility(self, users: Ints, times: Ints) -> Floats:
        """Return the utility of every item to `users` at `times`, without companions, (N, I)."""
        interest = self.interest[users] + self.seasonal(times)
        return _utility(self.shelf, interest, self.taste[users])


def generate(source: SyntheticSource, seed: int) -> Tables:
    """Generate the canonical tables; the same arguments give the same tables."""
    return generate_with_truth(source, seed)[0]


def generate_with_truth(source: SyntheticSource, seed: int) -> tuple[Tables, Truth]:
    """Generate the canonical tables and what is true of them."""
    random = np.random.default_rng(seed)
    shelf = stock(source.items, START, source.days, random)
    categories = len(CATEGORIES)
    interest = random.normal(0, 0.4, (source.users, categories))
    for _ in range(2):  # everybody has one or two favourite categories
        interest[np.arange(source.users), random.integers(categories, size=source.users)] += 2.2
    taste = random.normal(0, 1.1, (source.users, len(STYLES)))
    likes_UT = np.hstack([interest, taste])
    season = np.stack(
        [random.uniform(0.4, 1.4, categories), random.uniform(0, 2 * np.pi, categories)]
    )
    period = max(source.days / 2, 14.0)
    visits = _visits(source, random)

    log = _Log()
    last_visit = visits[:, 0]
    for column in range(visits.shape[1]):
        users = np.flatnonzero(visits[:, column] >= 0)
        starts = visits[users, column]
        days_since = np.maximum(starts - last_visit[users], 0) / DAY_MS
        step = random.normal(0, 1, (len(users), categories)) * np.sqrt(days_since)[:, None]
        interest[users] = interest[users] * 0.97 ** days_since[:, None] ** 0.5 + 0.16 * step
        last_visit[users] = starts
        pull = interest[users] + _seasonal(season, period, starts)
        base = _utility(shelf, pull, taste[users])
        base[shelf.created[None, :] > starts[:, None]] = -50.0
        _visit(log, shelf, users, starts, base, random)

    truth = Truth(shelf, taste, interest, season, period)
    users = _users(source.users, random)
    follows = None
    if source.has_follows:
        ids = users["user_id"].to_pylist()
        follows = follow_graph(ids, likes_UT, source.follows, START, seed)
    return Tables(log.table(shelf), shelf.table, users, follows), truth


def _visits(source: SyntheticSource, random: np.random.Generator) -> Ints:
    """Return the start of every visit, ms, ascending per user, -1 where there is none, (U, V)."""
    rate = random.gamma(2.0, source.sessions_per_user / 2.0, source.users)
    counts = np.clip(1 + random.poisson(rate), 1, int(source.sessions_per_user * 5) + 1)
    joined = random.random(source.users) ** 2 * 0.9
    share = joined[:, None] + (1 - joined[:, None]) * random.random((source.users, counts.max()))
    share[np.arange(counts.max())[None, :] >= counts[:, None]] = 2.0
    share.sort(axis=1)
    days = np.floor(share * (source.days - 1))
    # People come in the evening rather than at night.
    hour = np.clip(random.normal(18, 4, share.shape), 0, 23.5)
    times = START + (days * DAY_MS + hour * 3_600_000).astype(np.int64)
    times[share > 1] = np.iinfo(np.int64).max
    times.sort(axis=1)
    return np.where(times == np.iinfo(np.int64).max, -1, times)


def _visit(
    log: _Log,
    shelf: Shelf,
    users: Ints,
    starts: Ints,
    base_UI: Floats,
    random: np.random.Generator,
) -> None:
    """Let every one of `users` look at a few pages, and write down what happens."""
    last = np.full(len(users), -1)
    rows = np.arange(len(users))
    pages = random.integers(2, PAGES + 1, len(users))
    for page in range(PAGES):
        on = pages > page
        times = starts + page * 120_000 + random.integers(0, 60_000, len(users))
        utility_UI = base_UI.copy()
        led = np.flatnonzero(last >= 0)
        utility_UI[led[:, None], shelf.companions[last[led]]] += 2.5
        home = on & (random.random(len(users)) < HOME_SHARE)

        searching = np.flatnonzero(on & ~home)
        noise = random.gumbel(0, 1, (len(searching), base_UI.shape[1]))
        picked = np.argmax(1.6 * utility_UI[searching] + noise, axis=1)
        log.add("click", users[searching], picked, times[searching], surface="search")
        last[searching] = picked

        looking = np.flatnonzero(home)
        shown, propensity = _slate(base_UI[looking], random)
        affinity = np.take_along_axis(utility_UI[looking], shown, 1)
        click = random.random(shown.shape) < EXAMINE / (1 + np.exp(2.5 - affinity))
        for position in range(POSITIONS):
            happened = click[:, position]
            for event, keep in (("impression", ~happened), ("click", happened)):
                who = looking[keep]
                log.add(
                    event,
                    users[who],
                    shown[keep, position],
                    times[who] + (position + 1) * 4_000 * happened[keep],
                    surface="home",
                    position=position + 1,
                    propensity=propensity[keep, position],
                )
            last[looking[happened]] = shown[happened, position]

        clicked = on & (last >= 0)
        chance = 1 / (1 + np.exp(3.0 - utility_UI[rows, np.maximum(last, 0)]))
        buys = np.flatnonzero(clicked & (random.random(len(users)) < 0.5 * chance))
        log.add("purchase", users[buys], last[buys], times[buys] + 45_000, surface="checkout")


def _slate(base_UI: Floats, random: np.random.Generator) -> tuple[Ints, Floats]:
    """Fill the positions by a policy whose propensities are exact.

    The items are dealt into as many pools as there are positions. Position j draws from pool
    (j + r) modulo the number of positions, r uniform, by a softmax over a blurred utility. So no
    item is shown twice and P(item i at position j) = softmax within i's pool / positions.

    Returns:
        items (U, POSITIONS) and their propensities (U, POSITIONS).
    """
    users, items = base_UI.shape
    shown = np.zeros((users, POSITIONS), np.int64)
    propensity = np.zeros((users, POSITIONS))
    turn = random.integers(POSITIONS, size=users)
    for pool in range(POSITIONS):
        members = np.arange(pool, items, POSITIONS)
        logits = 0.7 * base_UI[:, members]
        noise = random.gumbel(0, 1, logits.shape)
        choice = np.argmax(logits + noise, axis=1)
        chance = np.exp(logits - logits.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        position = (pool - turn) % POSITIONS
        rows = np.arange(users)
        shown[rows, position] = members[choice]
        propensity[rows, position] = chance[rows, choice] / POSITIONS
    return shown, propensity


def _utility(shelf: Shelf, interest_UC: Floats, taste_US: Floats) -> Floats:
    return interest_UC[:, shelf.category] + taste_US @ shelf.style.T + shelf.appeal[None, :]


def _seasonal(season: Floats, period_days: float, times: Ints) -> Floats:
    angle = 2 * np.pi * (times[:, None] - START) / (period_days * DAY_MS)
    return np.asarray(season[0] * np.sin(angle + season[1]))


def _users(count: int, random: np.random.Generator) -> pa.Table:
    attributes = [
        [("country", str(random.choice(COUNTRIES))), ("age_group", str(random.choice(AGE_GROUPS)))]
        for _ in range(count)
    ]
    return pa.table(
        {"user_id": [_user_id(row) for row in range(count)], "attributes": attributes}, USERS
    )


def _user_id(row: int) -> str:
    return f"u{row + 1:05d}"


class _Log:
    """Collects events column by column."""

    def __init__(self) -> None:
        self._parts: list[dict[str, pa.Array]] = []

    def add(
        self,
        event: str,
        users: Ints,
        items: Ints,
        times: Ints,
        surface: str,
        position: int | None = None,
        propensity: Floats | None = None,
    ) -> None:
        """Add events of one type on one surface."""
        size = len(users)
        self._parts.append(
            {
                "user": pa.array(users),
                "item": pa.array(items),
                "event": pa.repeat(event, size),
                "time": pa.array(times, pa.int64()),
                "surface": pa.repeat(surface, size),
                "position": pa.array([position] * size, pa.int32()),
                "propensity": pa.nulls(size, pa.float64())
                if propensity is None
                else pa.array(propensity),
            }
        )

    def table(self, shelf: Shelf) -> pa.Table:
        """Return the canonical event table, sorted by (time, event id)."""
        log = pa.concat_tables([pa.table(part) for part in self._parts])
        log = log.sort_by([("time", "ascending"), ("user", "ascending"), ("position", "ascending")])
        size = len(log)
        return pa.table(
            {
                "event_id": [f"e{row + 1:09d}" for row in range(size)],
                "user_id": [_user_id(row) for row in log["user"].to_numpy()],
                "item_id": shelf.table["item_id"].take(log["item"]),
                "event": log["event"],
                "time": log["time"].cast(TIME),
                "value": pa.nulls(size, pa.float64()),
                "surface": log["surface"],
                "position": log["position"],
                "propensity": log["propensity"],
            },
            EVENTS,
        )
