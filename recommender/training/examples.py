"""What the model is trained on: moments of asking, what lay strictly before, and what came next.

A *context* is a moment at which something happened to a user; what it may read is the user's
history strictly before that moment (`recommender.features.sequences`), so the lines of one basket
are targets of one shared context and never inputs of each other. Contexts live in *windows*: at
most `limit` consecutive events of one user. A longer history is cut into windows that overlap by
half, and a context belongs to the first window that reaches it, so it reads at least half a window.

Shape letters: E events, W windows, C contexts, N item targets, M action targets, X slices of
time, I items, F lengths of memory, G values that are foretold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.config.actions import ActionsConfig
from recommender.config.ranking import ValueConfig
from recommender.errors import TrainingError
from recommender.features.cases import carried, cases
from recommender.features.sequences import EventLog, Ints
from recommender.model.people import PeopleCodes
from recommender.training.popularity import log_popularity

MEMORIES = (None, 0.1, 0.01)


@dataclass(frozen=True)
class Examples:
    """Windows, contexts and targets, each sorted by the one before it.

    Attributes:
        history: the events that windows are cut from.
        window_start: first event of each window, a row of `history`, (W,).
        window_length: events of each window, (W,).
        context_offsets: contexts of window w are `[offsets[w], offsets[w + 1])`, (W + 1,).
        position: events of the window that lie before the context, (C,).
        now: moment of the context, UTC milliseconds, (C,).
        slice: row of `popularity` that was known at the context, (C,).
        item_offsets: item targets of context c, (C + 1,).
        item: catalogue rows, distinct per context, (N,) int32.
        weight: of each item target, (N,) float32.
        action_offsets: action targets of context c, (C + 1,).
        action_item: catalogue rows, (M,) int32.
        action: event-type codes, 1 …, (M,) int8.
        value: what came of each action target, of every kind that is foretold; NaN where nothing
            did, (M, G) float32.
        popularity: log popularity of each item at the start of each slice, (X, I, F) float32.
        latest: the same at the cut, (I, F) float32.
        known: whether an item has a history event before the cut, (I,) bool.
        exclude_seen: whether items of the history are never recommended again.
        surface: code of where each context's first event happened, (C,) int8; None: not read.
        people: codes of what is known of each window's owner, (W, P); None: nothing is read.
    """

    history: EventLog
    window_start: Ints
    window_length: Ints
    context_offsets: Ints
    position: Ints
    now: Ints
    slice: Ints
    item_offsets: Ints
    item: NDArray[np.int32]
    weight: NDArray[np.float32]
    action_offsets: Ints
    action_item: NDArray[np.int32]
    action: NDArray[np.int8]
    value: NDArray[np.float32]
    popularity: NDArray[np.float32]
    latest: NDArray[np.float32]
    known: NDArray[np.bool_]
    exclude_seen: bool
    surface: NDArray[np.int8] | None = None
    people: Ints | None = None

    @classmethod
    def build(
        cls,
        log: EventLog,
        cut: int,
        items: int,
        actions: ActionsConfig,
        limit: int,
        other: float,
        *,
        slices: int = 32,
        latest_window: bool = False,
        people: PeopleCodes | None = None,
        demand: Callable[[Ints], NDArray[np.float32]] | None = None,
        values: Sequence[ValueConfig] = (),
    ) -> Examples:
        """Make the examples of everything before a cut.

        Args:
            log: events of all types.
            cut: nothing at or after this moment (ms) is read.
            items: I.
            actions: which types make history, and whether items are taken repeatedly.
            limit: most events of a window.
            other: weight of item targets that are history, but no success.
            slices: of time, for popularity; with 1 it is that of the cut throughout.
            latest_window: whether only the latest window of each history is learned from.
            people: what is read of whoever it is.
            demand: further features beside popularity, as of moments (X,): (X, I, further F).
            values: that are foretold.

        Raises:
            TrainingError: before the cut there is no history, or nothing to recommend.
        """
        past = log.before(cut)
        history = past.of_types(actions.histories, actions)
        if not len(history):
            raise TrainingError(
                f"no event of the types {', '.join(actions.histories)} lies before the cut",
                "check actions.history and the shares in split",
            )
        known_I = np.bincount(history.items, minlength=items) > 0
        # How popular an item was can't depend on what its buyers did later: all windows count.
        successes = history.of_types(actions.successes, actions)
        longer_U = np.zeros(len(past.users), bool)
        if latest_window:
            longer_U = np.diff(history.offsets) > limit
            past = latest_windows(past, history, limit)
            history = past.of_types(actions.histories, actions)
        new_E = np.ones(len(past), bool)
        new_E[1:] = (np.diff(past.user_of_event) != 0) | (np.diff(past.times) != 0)
        context_E = np.cumsum(new_E) - 1
        now_C = past.times[new_E]
        start_W, context_offsets, position_C = _windows(
            history, past.user_of_event[new_E], now_C, limit
        )
        targets, weight = _item_targets(past, context_E, items, actions, other)
        # Where a history goes on before its latest window, nobody's was empty at the first event.
        unknown_C = longer_U[past.user_of_event[new_E]] & (position_C == 0)
        told = ~unknown_C[context_E[targets]]
        targets, weight = targets[told], weight[told]
        if not len(targets):
            raise TrainingError(
                f"none of {len(history)} history events before the cut can be learned to recommend",
                f"successes are {', '.join(actions.successes)}; check actions.success, or give "
                "the other types weight by training.other_weight",
            )
        moments = slice_starts(history.times, slices)
        popularity = log_popularity(successes, np.append(moments, cut), items, MEMORIES)
        if demand is not None:
            # The first slice's moment is the log's first: nothing lies before it.
            read = np.append(moments, cut) if slices > 1 else np.array([cut, cut])
            popularity = np.concatenate([popularity, demand(read)], axis=2)
        contexts = np.arange(len(now_C) + 1)
        # The action head learns what serving asks it: how far a person goes with an item that is
        # put in front of them, at the moment it is, not what the log's later rows already show.
        judged = cases(past, items, int(past.times.min()), cut)
        case_context = context_E[judged.shown]
        by_context = np.argsort(case_context, kind="stable")
        kinds = [[actions.code(event) for event in value.events] for value in values]
        return cls(
            history=history,
            window_start=start_W,
            window_length=np.maximum.reduceat(position_C, context_offsets[:-1]),
            context_offsets=context_offsets,
            position=position_C,
            now=now_C,
            slice=np.searchsorted(moments[1:], now_C, side="right"),
            item_offsets=np.searchsorted(context_E[targets], contexts),
            item=past.items[targets],
            weight=weight,
            action_offsets=np.searchsorted(case_context[by_context], contexts),
            action_item=past.items[judged.rows][by_context],
            action=judged.reached[by_context].astype(np.int8),
            value=carried(past, items, judged, kinds, cut)[by_context],
            popularity=popularity[:-1] if slices > 1 else popularity[-1:],
            latest=popularity[-1],
            known=known_I,
            exclude_seen=actions.exclude_seen,
            surface=None if past.surfaces is None else past.surfaces[new_E],
            people=None
            if people is None
            else people.of(past.people, len(past.users))[
                past.user_of_event[new_E][context_offsets[:-1]]
            ],
        )


def latest_windows(past: EventLog, history: EventLog, limit: int) -> EventLog:
    """Return the events from each user's `limit`-th last history event on.

    Args:
        past: events of all types.
        history: those that make history.
        limit: history events of a user that are kept.
    """
    counts_U = np.diff(history.offsets)
    first_U = history.offsets[1:] - np.minimum(counts_U, limit)
    since_U = np.full(len(counts_U), np.iinfo(np.int64).min)
    since_U[counts_U > limit] = history.times[first_U[counts_U > limit]]
    return past.where(past.times >= since_U[past.user_of_event])


def _windows(history: EventLog, user_C: Ints, now_C: Ints, limit: int) -> tuple[Ints, Ints, Ints]:
    """Cut histories into windows that overlap by half.

    Args:
        history: the events.
        user_C: of each context, ascending.
        now_C: of each context, ascending within a user.
        limit: most events of a window.

    Returns:
        the first event of each window (W,), the contexts of each (W + 1,), and how many events of
        its window lie before each context (C,).
    """
    _, stop_C = history.windows(user_C, now_C, limit)
    depth_C = stop_C - history.offsets[user_C]
    stride = max(1, limit // 2)
    turn_C = np.maximum(0, -(-(depth_C - limit) // stride))
    first_C = np.ones(len(now_C), bool)
    first_C[1:] = (np.diff(user_C) != 0) | (np.diff(turn_C) != 0)
    context_offsets = np.append(np.flatnonzero(first_C), len(now_C))
    start_W = history.offsets[user_C[first_C]] + turn_C[first_C] * stride
    return start_W, context_offsets, depth_C - turn_C * stride


def _item_targets(
    past: EventLog, context_E: Ints, items: int, actions: ActionsConfig, other: float
) -> tuple[Ints, NDArray[np.float32]]:
    """Return the events that are item targets, by context and item, and their weights, (N,) each.

    Of one item's events in one context, the weightiest is the target. Where seen items are never
    recommended again, only an item's first time is one.
    """
    wanted_E = np.isin(past.actions, [actions.code(name) for name in actions.histories])
    success_E = np.isin(past.actions, [actions.code(name) for name in actions.successes])
    weight_E = np.where(success_E, 1.0, other).astype(np.float32)
    if actions.exclude_seen:
        wanted_E &= _first_time(past, wanted_E, items)
    rows = np.flatnonzero(wanted_E & (weight_E > 0))
    cell_E = context_E * items + past.items
    rows = rows[np.lexsort((-weight_E[rows], cell_E[rows]))]
    rows = rows[np.diff(cell_E[rows], prepend=-1) != 0]
    return rows, weight_E[rows]


def _first_time(past: EventLog, taking_E: NDArray[np.bool_], items: int) -> NDArray[np.bool_]:
    """Return whether each event is at the first moment at which its user took its item, (E,).

    Args:
        past: the events.
        taking_E: which of them are a taking.
        items: I.
    """
    cell_E = past.user_of_event * items + past.items
    rows = np.flatnonzero(taking_E)
    rows = rows[np.lexsort((past.times[rows], cell_E[rows]))]
    starts = np.flatnonzero(np.diff(cell_E[rows], prepend=-1) != 0)
    runs = np.diff(np.append(starts, len(rows)))
    first_E = np.zeros(len(past), bool)
    first_E[rows] = past.times[rows] == np.repeat(past.times[rows[starts]], runs)
    return first_E


def slice_starts(times: Ints, slices: int) -> Ints:
    """Return the moments at which slices of about equally many events begin, (X,)."""
    ordered = np.sort(times)
    return np.unique(ordered[(np.arange(slices) * len(ordered)) // slices])
