"""Groups of requests in which a model may do well or badly behind a good average.

A slice is a property of the request at its moment (how long the history was, how recent), of the
user (an attribute), or of what was taken (popular or not, a category, new). All of it is known
from before the test window, except what was taken. A request without the property (no history,
an unknown attribute) belongs to a group of its own and is never dropped.

Shape letters: B requests, P relevant items (jagged), I items, E events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.evaluation.frozen import EvaluationSet
from recommender.features.sequences import Ints

Bools = NDArray[np.bool_]
DAY_MS = 86_400_000
HEAD, TORSO = 0.5, 0.8
"""Shares of all past successes: the most popular items that make up half of them are the head,
those up to 80 % the torso, the rest the tail."""


@dataclass(frozen=True)
class Slice:
    """A group of requests.

    Attributes:
        family: what they are grouped by.
        name: of the group.
        requests: whether each request of the set belongs to it, (B,).
    """

    family: str
    name: str
    requests: Bools


def by_history(requests: EvaluationSet) -> Iterator[Slice]:
    """Group by how many events the history held: cold users, and thirds of the others."""
    lengths_B = requests.histories(np.arange(len(requests))).lengths
    yield from _graded("history length", lengths_B, lengths_B == 0, "cold: no history")


def by_recency(requests: EvaluationSet) -> Iterator[Slice]:
    """Group by the days since the last event."""
    histories = requests.histories(np.arange(len(requests)))
    cold_B = histories.lengths == 0
    last_B = np.zeros(len(requests), np.int64)
    last_B[~cold_B] = histories.times[histories.offsets[1:][~cold_B] - 1]
    days_B = (requests.times - last_B) / DAY_MS
    edges = ((0, 1, "within a day"), (1, 7, "within a week"), (7, 30, "within 30 days"))
    for low, high, name in edges:
        yield Slice("last seen", name, ~cold_B & (days_B >= low) & (days_B < high))
    yield Slice("last seen", "longer ago", ~cold_B & (days_B >= 30))
    yield Slice("last seen", "never", cold_B)


def by_activity(requests: EvaluationSet) -> Iterator[Slice]:
    """Group users by how many of their requests are tested."""
    _, row_B, count = np.unique(requests.users, return_inverse=True, return_counts=True)
    tested_B = count[row_B]
    for low, high, name in ((1, 1, "1 request"), (2, 4, "2 to 4 requests")):
        yield Slice("activity", name, (tested_B >= low) & (tested_B <= high))
    yield Slice("activity", "5 requests or more", tested_B >= 5)


def by_popularity(requests: EvaluationSet, successes_I: Ints) -> Iterator[Slice]:
    """Group by how popular what was taken had been: head, torso, tail, and never taken before.

    Args:
        requests: the frozen set.
        successes_I: of each item before the first test window.
    """
    ranked = np.argsort(-successes_I, kind="stable")
    total = max(int(successes_I.sum()), 1)
    above = (np.cumsum(successes_I[ranked]) - successes_I[ranked]) / total
    tier_I = np.empty(len(successes_I), np.int64)
    tier_I[ranked] = np.digitize(above, (HEAD, TORSO))
    tier_I[successes_I == 0] = 3
    for tier, name in enumerate(("head", "torso", "tail", "cold: never taken before")):
        yield Slice("popularity of the item", name, _any_relevant(requests, tier_I == tier))


def by_label(
    requests: EvaluationSet,
    family: str,
    labels_I: Sequence[str | None],
    most: int = 8,
) -> Iterator[Slice]:
    """Group by a label of what was taken: a category, a brand, a language.

    Args:
        requests: the frozen set.
        family: what the labels are.
        labels_I: of each item; None where there is none.
        most: groups of their own; the others go together, and so do items without a label.
    """
    names, code_I = np.unique([label or "" for label in labels_I], return_inverse=True)
    taken = np.bincount(code_I[requests.relevant], minlength=len(names))
    largest = [code for code in np.argsort(-taken, kind="stable") if names[code] and taken[code]]
    for code in largest[:most]:
        yield Slice(family, str(names[code]), _any_relevant(requests, code_I == code))
    if rest := largest[most:]:
        yield Slice(family, "all others", _any_relevant(requests, np.isin(code_I, rest)))
    unknown_I = names[code_I] == ""
    if unknown_I.any():
        yield Slice(family, "unknown", _any_relevant(requests, unknown_I))


def by_attribute(
    requests: EvaluationSet, family: str, values_U: Sequence[str | None], most: int = 8
) -> Iterator[Slice]:
    """Group by an attribute of the user.

    Args:
        requests: the frozen set.
        family: name of the attribute.
        values_U: of each user of the set's log; None where it isn't known.
        most: groups of their own; the others go together.
    """
    value_B = np.array([values_U[user] or "" for user in requests.users], dtype=str)
    names, counts = np.unique(value_B, return_counts=True)
    ranked = [str(names[row]) for row in np.argsort(-counts, kind="stable") if names[row]]
    for name in ranked[:most]:
        yield Slice(family, name, value_B == name)
    if rest := ranked[most:]:
        yield Slice(family, "all others", np.isin(value_B, rest))
    if (value_B == "").any():
        yield Slice(family, "unknown", value_B == "")


def _graded(family: str, value_B: Ints, apart_B: Bools, apart: str) -> Iterator[Slice]:
    """Cut the values that aren't set apart into thirds of like size, at whole numbers."""
    yield Slice(family, apart, apart_B)
    rest = value_B[~apart_B]
    if not len(rest):
        return
    edges = np.unique(np.quantile(rest, (1 / 3, 2 / 3), method="lower"))
    low = int(rest.min())
    for high in (*edges.astype(int), int(rest.max())):
        if high < low:
            continue
        name = f"{low} to {high} events" if high > low else f"{low} event" + "s" * int(low != 1)
        yield Slice(family, name, ~apart_B & (value_B >= low) & (value_B <= high))
        low = high + 1


def _any_relevant(requests: EvaluationSet, wanted_I: Bools) -> Bools:
    """Return the requests that took at least one of the wanted items, (B,)."""
    hits_P = wanted_I[requests.relevant]
    running = np.concatenate([[0], np.cumsum(hits_P)])
    return np.asarray(running[requests.offsets[1:]] > running[requests.offsets[:-1]])
