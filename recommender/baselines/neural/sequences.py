"""What the sequence rivals learn from: windows of histories, and where each event is asked for.

Tokens are catalogue rows, then the start, the padding and the mask (`SPECIAL` of them). State s of
a sequence has read the start and s events. An event is the target of the state that has read all
that came strictly before its moment, so the lines of one basket never predict each other.

Shape letters: E events, W windows, B sequences of a batch, S states = 1 + events of the longest, N
targets.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recommender.config import Config
from recommender.features.dataset import Dataset
from recommender.features.people import with_people
from recommender.features.sequences import EventLog, Histories, Ints
from recommender.model.padded import Padded, tensor

SPECIAL = 3
"""Tokens behind the catalogue's: `items` is the start, `items + 1` padding, `items + 2` a mask."""

PEOPLE = 1024
"""Buckets that what is known of people is hashed into; 0 is nothing."""


@dataclass(frozen=True)
class Sequences:
    """Histories as tensors, the start token first, padded behind their ends.

    Attributes:
        tokens: (B, S) int64; `start` first, `padding` behind the end.
        actions: event-type codes; 0 at the start and behind the end, (B, S).
        times: UTC milliseconds; that of the start is the first event's, (B, S).
        lengths: events of each, (B,).
        people: what is known of each person besides, as buckets, (B, P), P at least 1.
    """

    tokens: Tensor
    actions: Tensor
    times: Tensor
    lengths: Tensor
    people: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def inside(self) -> Tensor:
        """Whether each place holds the start or an event, (B, S) bool."""
        return torch.arange(self.tokens.shape[1]) <= self.lengths[:, None]

    @classmethod
    def cut(
        cls,
        source: EventLog | Histories,
        start: Ints,
        lengths: Ints,
        items: int,
        people: Sequence[Mapping[str, str] | None] | None = None,
    ) -> Self:
        """Cut ranges of events out of a log.

        Args:
            source: the events.
            start: first event of each range, (B,).
            lengths: events of each range, (B,).
            items: in the catalogue; `items` is the start token, `items + 1` the padding.
            people: what is known of the person of each range, (B,).
        """
        padded, lengths_B = Padded.cut(source, start, lengths), tensor(lengths)
        outside = torch.arange(padded.events) >= lengths_B[:, None]
        tokens = padded.items.masked_fill(outside, items + 1)
        first = torch.full((len(lengths), 1), items)
        time_B1 = padded.times[:, :1] if padded.events else torch.zeros_like(first)
        return cls(
            torch.cat([first, tokens], dim=1),
            torch.cat([torch.zeros_like(first), padded.actions], dim=1),
            torch.cat([time_B1, padded.times], dim=1),
            lengths_B,
            _hashed(people or [None] * len(lengths)),
        )


def _hashed(people: Sequence[Mapping[str, str] | None]) -> Tensor:
    """Return the buckets of what is known of each person, padded with 0, (B, P)."""
    facts = [sorted(f"{name}={value}" for name, value in (each or {}).items()) for each in people]
    longest = max((len(each) for each in facts), default=0)
    buckets = torch.zeros(len(facts), max(1, longest), dtype=torch.int64)
    for row, each in enumerate(facts):
        for place, fact in enumerate(each):
            buckets[row, place] = 1 + zlib.crc32(fact.encode()) % (PEOPLE - 1)
    return buckets


@dataclass(frozen=True)
class Moments:
    """When states are asked, and what they have read until then.

    Attributes:
        now: UTC milliseconds, (N,).
        last: of the last event that was read, (N,); any where there is none.
        read: how many events were read, (N,).
        people: as in `Sequences`, (N, P).
    """

    now: Tensor
    last: Tensor
    read: Tensor
    people: Tensor

    @classmethod
    def of(cls, sequences: Sequences, state_N: Tensor, now_N: Tensor) -> Self:
        """Look them up for states, `row × S + state`."""
        width = sequences.tokens.shape[1]
        people_NP = sequences.people[state_N // width]
        return cls(now_N, sequences.times.flatten()[state_N], state_N % width, people_NP)


@dataclass(frozen=True)
class Learned:
    """Windows and what is to be learned of them.

    Attributes:
        sequences: B windows, without what is only a target.
        state: of each target, `row × S + state`, ascending, (N,).
        target: catalogue rows, (N,).
        weight: of each, above 0, (N,).
        now: the moment of each, UTC milliseconds, (N,).
        own: where each lies in the sequences itself, `row × S + place`; -1 where it is only a
            target, (N,).
    """

    sequences: Sequences
    state: Tensor
    target: Tensor
    weight: Tensor
    now: Tensor
    own: Tensor


@dataclass(frozen=True)
class Windows:
    """Overlapping ranges of at most `limit + 1` events of one user, each event a target once.

    Attributes:
        history: the events.
        items: in the catalogue.
        limit: most events of a sequence.
        start, stop: of each window, events of `history`, (W,).
        first: of each window, its first event that is a target, (W,).
        weight: of each event as a target, (E,).
        read: of each event, the first event of its moment: what lies before it has been read
            when it is asked for, (E,).
    """

    history: EventLog
    items: int
    limit: int
    start: Ints
    stop: Ints
    first: Ints
    weight: NDArray[np.float32]
    read: Ints

    @classmethod
    def before(cls, dataset: Dataset, cut: int, config: Config) -> Self:
        """Make the windows of what lies before a cut.

        Args:
            dataset: the log of all event types.
            cut: nothing at or after this moment (ms) is read.
            config: the event types, how far back is read, the weight of what is no success.
        """
        actions, limit = config.actions, config.model.history
        log = with_people(dataset.log, dataset.attributes)
        history = log.before(cut).of_types(actions.histories, actions)
        counts_U = np.diff(history.offsets)
        stride = max(1, (limit + 1) // 2)
        windows_U = np.where(counts_U > 0, 1 + -(-np.maximum(counts_U - limit - 1, 0) // stride), 0)
        user_W = np.repeat(np.arange(len(counts_U)), windows_U)
        nth_W = np.arange(len(user_W)) - np.repeat(np.cumsum(windows_U) - windows_U, windows_U)
        start_W = history.offsets[user_W] + nth_W * stride
        stop_W = np.minimum(start_W + limit + 1, history.offsets[user_W + 1])
        # What the window before has asked for is read again, and not asked for again.
        first_W = np.where(nth_W > 0, start_W + limit + 1 - stride, start_W)
        success_E = np.isin(history.actions, [actions.code(name) for name in actions.successes])
        new_E = np.ones(len(history), bool)
        new_E[1:] = (np.diff(history.user_of_event) != 0) | (np.diff(history.times) != 0)
        return cls(
            history,
            len(dataset.catalogue),
            limit,
            start_W,
            stop_W,
            first_W,
            np.where(success_E, 1, config.training.other_weight).astype(np.float32),
            np.flatnonzero(new_E)[np.cumsum(new_E) - 1] if len(history) else np.zeros(0, np.int64),
        )

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether each item occurs, (I,)."""
        return np.bincount(self.history.items, minlength=self.items) > 0

    def batch(self, windows: Ints) -> Learned:
        """Gather some windows."""
        start, stop = self.start[windows], self.stop[windows]
        lengths = np.minimum(stop - start, self.limit)
        people = self.history.people
        mine = [people[user] for user in self.history.user_of_event[start]] if people else None
        sequences = Sequences.cut(self.history, start, lengths, self.items, mine)
        counts = stop - self.first[windows]
        row_N = np.repeat(np.arange(len(windows)), counts)
        event_N = np.arange(len(row_N)) - np.repeat(np.cumsum(counts) - counts, counts)
        event_N = event_N + self.first[windows][row_N]
        kept = self.weight[event_N] > 0
        row_N, event_N = row_N[kept], event_N[kept]
        # A basket that began before the window is asked for from the window's start.
        state_N = np.maximum(self.read[event_N] - start[row_N], 0)
        width, place_N = sequences.tokens.shape[1], event_N - start[row_N] + 1
        own_N = np.where(place_N < width, row_N * width + place_N, -1)
        return Learned(
            sequences,
            tensor(row_N * width + state_N),
            tensor(self.history.items[event_N]),
            torch.from_numpy(self.weight[event_N]),
            tensor(self.history.times[event_N]),
            tensor(own_N),
        )

    def batches(self, tokens: int, random: np.random.Generator) -> Iterator[Learned]:
        """Yield all windows, those of like length together, `tokens` padded events at a time."""
        lengths = self.stop - self.start + 1
        order = np.argsort(lengths * (1 + 0.1 * random.random(len(lengths))))
        groups, start, longest = [], 0, 0
        for place, window in enumerate(order):
            longest = max(longest, int(lengths[window]))
            if place > start and longest * (place - start + 1) > tokens:
                groups.append(order[start:place])
                start, longest = place, int(lengths[window])
        if len(order):
            groups.append(order[start:])
        for place in random.permutation(len(groups)):
            batch = self.batch(groups[place])
            if len(batch.target):
                yield batch
