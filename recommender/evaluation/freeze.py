"""How the frozen evaluation set is made from a data set and its folds.

Shape letters: E events, R requests of a window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recommender.config.actions import ActionsConfig
from recommender.errors import EvaluationError
from recommender.evaluation.frozen import EvaluationSet, ranges
from recommender.features.dataset import Dataset
from recommender.features.people import as_of
from recommender.features.sequences import EventLog, Ints
from recommender.split import Fold


def freeze(
    dataset: Dataset, actions: ActionsConfig, history_limit: int, requests_per_user: int
) -> EvaluationSet:
    """Make the evaluation set of all of a data set's folds.

    Args:
        dataset: the log, catalogue and folds.
        actions: which event types make history and which are a success.
        history_limit: most recent events that a history holds.
        requests_per_user: at most this many scorable requests per user and fold, the earliest.

    Raises:
        EvaluationError: no request can be scored.
    """
    log = dataset.log.of_types(actions.histories, actions)
    success_E = np.isin(log.actions, [actions.code(name) for name in actions.successes])
    targets = _Targets(log, success_E, len(dataset.catalogue), history_limit, actions.exclude_seen)
    parts = [targets.of(fold, requests_per_user) for fold in dataset.folds]
    rows = np.concatenate([np.full(len(part.users), n) for n, part in enumerate(parts)])
    users = np.concatenate([part.users for part in parts])
    times = np.concatenate([part.times for part in parts])
    scored = np.unique(users)
    unscored: dict[str, str] = {}
    for part in parts:
        for user, reason in part.unscored.items():
            if user not in scored:
                unscored.setdefault(log.users[user], reason)
    counts = {name: sum(part.counts[name] for part in parts) for name in parts[0].counts}
    if not len(users):
        windows = " and ".join(f"[{fold.test_start}, {fold.test_end})" for fold in dataset.folds)
        raise EvaluationError(
            f"none of {len(unscored)} users who did something in the test window {windows} (ms) "
            f"took an item that can be recommended to them: {counts}",
            "check actions.success and actions.exclude_seen, or make split.test_share larger",
        )
    order = np.lexsort((times, users))
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    starts = np.cumsum(lengths) - lengths
    relevant = np.concatenate([part.relevant for part in parts])
    start, stop = log.windows(users[order], times[order], history_limit)
    counts["requests without history"] = int((start == stop).sum())
    return EvaluationSet(
        _needed(log, scored, users[order], start, stop),
        dataset.catalogue,
        np.searchsorted(scored, users[order]).astype(np.int64),
        times[order],
        rows[order].astype(np.int64),
        relevant[ranges(starts[order], lengths[order])],
        np.concatenate([[0], np.cumsum(lengths[order])]).astype(np.int64),
        dataset.folds,
        history_limit,
        actions.exclude_seen,
        dataset.data_version,
        dict(sorted(unscored.items())),
        counts,
        log.asked(users[order], times[order], history_limit).surface,
    )


@dataclass(frozen=True)
class _Part:
    """The requests of one fold; users are rows of the whole log."""

    users: Ints
    times: Ints
    relevant: NDArray[np.int32]
    offsets: Ints
    unscored: dict[int, str]
    counts: dict[str, int]


class _Targets:
    """Finds what was taken at each moment and whether it was in the history already."""

    def __init__(
        self, log: EventLog, success_E: NDArray[np.bool_], items: int, limit: int, exclude: bool
    ) -> None:
        self._log = log
        self._success_E = success_E
        self._limit = limit
        self._exclude = exclude
        self._items = items
        # The last event of the same user and item at an earlier time, or -1: events of one
        # (user, item) lie together after sorting, in groups of one time each.
        key_E = log.user_of_event * items + log.items
        order = np.argsort(key_E, kind="stable")
        new_key = np.diff(key_E[order], prepend=-1) != 0
        new_time = new_key | (np.diff(log.times[order], prepend=0) != 0)
        first = np.maximum.accumulate(np.where(new_time, np.arange(len(order)), 0))
        before = np.where(new_key[first], -1, order[first - 1])
        self._before_E = np.empty(len(order), np.int64)
        self._before_E[order] = before

    def of(self, fold: Fold, requests_per_user: int) -> _Part:
        """Return the requests of one fold's test window."""
        log = self._log
        inside = np.nonzero((log.times >= fold.test_start) & (log.times < fold.test_end))[0]
        users, times = log.user_of_event[inside], log.times[inside]
        change = (np.diff(users, prepend=-1) != 0) | (np.diff(times, prepend=-1) != 0)
        request = np.cumsum(change) - 1  # of each event; the log is sorted by user and time
        asked, asked_at = users[change], times[change]
        start, _ = log.windows(asked, asked_at, self._limit)

        taken = self._success_E[inside]
        pairs = request[taken] * self._items + log.items[inside[taken]]
        distinct, where = np.unique(pairs, return_index=True)
        owner, item = distinct // self._items, distinct % self._items
        seen = self._before_E[inside[taken][where]] >= start[owner]
        keep = ~seen if self._exclude else np.ones(len(owner), bool)
        lengths = np.bincount(owner[keep], minlength=len(asked))
        scorable = lengths > 0
        place = _place_in_group(asked[scorable])
        chosen = np.nonzero(scorable)[0][place < requests_per_user]

        successes = np.bincount(owner, minlength=len(asked))
        successful = np.unique(asked[successes > 0])
        reasons = {
            int(user): "took only items already in the history"
            if user in successful
            else "took nothing in the test window"
            for user in np.setdiff1d(asked, asked[scorable])
        }
        counts = {
            "requests with nothing taken": int((successes == 0).sum()),
            "requests with only seen items taken": int(((successes > 0) & ~scorable).sum()),
            "requests beyond requests_per_user": int(scorable.sum() - len(chosen)),
        }
        picked = np.isin(owner, chosen) & keep
        offsets = np.concatenate([[0], np.cumsum(lengths[chosen])]).astype(np.int64)
        relevant = item[picked].astype(np.int32)
        known = np.unique(log.items[log.times < fold.test_start])
        counts["relevant items never taken before the cut"] = int((~np.isin(relevant, known)).sum())
        return _Part(asked[chosen], asked_at[chosen], relevant, offsets, reasons, counts)


def _place_in_group(sorted_keys: Ints) -> Ints:
    """Return the place of each element among its equals: 0, 1, … ."""
    starts = np.searchsorted(sorted_keys, sorted_keys, side="left")
    return np.arange(len(sorted_keys)) - starts


def _needed(log: EventLog, scored: Ints, users: Ints, start: Ints, stop: Ints) -> EventLog:
    """Return the log of the scored users with only the events that some history holds.

    Args:
        log: the whole log.
        scored: its rows of the users to keep, rising.
        users: of the requests, rising.
        start: of their histories, offsets into the log.
        stop: of their histories.
    """
    first = np.searchsorted(users, scored)
    low = np.minimum.reduceat(start, first)
    lengths = np.maximum.reduceat(stop, first) - low
    rows = ranges(low, lengths)
    return EventLog(
        tuple(log.users[user] for user in scored),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        log.items[rows],
        log.actions[rows],
        log.times[rows],
        log.values[rows],
        surfaces=None if log.surfaces is None else log.surfaces[rows],
    )


def known_at_cuts(
    requests: EvaluationSet, dataset: Dataset, actions: ActionsConfig
) -> tuple[EvaluationSet, ...]:
    """Return the requests as the endpoint knows the people of each fold, at the fold's cut.

    A model may answer people without a history by who they are and whom they follow.

    Args:
        requests: of all folds.
        dataset: with the folds that the requests are of.
        actions: says what counts as taken.
    """
    return tuple(
        replace(requests, log=as_of(requests.log, dataset, actions, fold.test_start))
        for fold in dataset.folds
    )
