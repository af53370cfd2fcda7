"""Lanes: the shares of the users that a step takes one batch of each from.

The number of lanes is `training.accumulate`, the batches of a step; a lane is a range of users of
about as many events as any other. A process has every `size`-th lane, so it reads the Parquet row
groups of its own people only. How many processes there are has no say in what is computed: a lane's
batches, their order, and what chance does in each depend on the seed, the epoch and the lane. A
restart with more or fewer processes goes on with the very same steps.

A lane that has fewer batches than others is empty in the last steps of an epoch: every window is
learned from exactly once per epoch, none twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from recommender.errors import ConfigError
from recommender.features.sequences import Ints
from recommender.training.batches import Batch, plan
from recommender.training.examples import Examples
from recommender.training.feed import Taken

Counted = Callable[[Ints], Ints]
"""Sums over the processes."""


def user_ranges(offsets: Ints, lanes: int) -> list[tuple[int, int]]:
    """Cut users into ranges of about equally many events.

    Args:
        offsets: user u's events are `[offsets[u], offsets[u + 1])`, (U + 1,).
        lanes: how many ranges.

    Returns:
        first user, and first user behind, of each.

    Raises:
        ConfigError: there are fewer users than lanes.
    """
    users = len(offsets) - 1
    if users < lanes:
        raise ConfigError(
            f"{users} users can't be shared out over {lanes} lanes", "lower training.accumulate"
        )
    wanted = offsets[-1] * np.arange(1, lanes) / lanes
    ends = np.searchsorted(offsets, wanted, side="left")
    # Everybody has at least one user, however long somebody's history is.
    for place in range(lanes - 1):
        least = 1 if place == 0 else ends[place - 1] + 1
        ends[place] = min(max(int(ends[place]), int(least)), users - (lanes - 1 - place))
    edges = [0, *(int(end) for end in ends), users]
    return list(pairwise(edges))


def own_lanes(lanes: int, rank: int, size: int) -> range:
    """Return the lanes of one process.

    Raises:
        ConfigError: there are more processes than lanes.
    """
    if size > lanes:
        raise ConfigError(
            f"{size} processes share steps of {lanes} batches: some would have nothing to do",
            f"set training.accumulate to a multiple of {size}, and the learning rate to match",
        )
    return range(rank, lanes, size)


@dataclass(frozen=True)
class LaneFeed:
    """The batches of this process's lanes.

    Attributes:
        examples: by lane.
        counts_of: tells how many batches each of all lanes has in an epoch, given those of ours.
        tokens: of a batch, at most.
        seed: of order and chance.
    """

    examples: Mapping[int, Examples]
    counts_of: LaneCounts
    tokens: int
    seed: int

    def epoch(self, number: int) -> LanePlan:
        """Return the plan of an epoch, from 0."""
        windows = {
            # One lane alone is planned as a single process plans.
            lane: plan(examples, self.tokens, self.seed + 7919 * lane, number)
            for lane, examples in self.examples.items()
        }
        counts_L = self.counts_of({lane: len(batches) for lane, batches in windows.items()})
        return LanePlan(self.examples, windows, counts_L, self.seed, number)


class LaneCounts:
    """Tells how many batches each lane has.

    Args:
        lanes: how many there are.
        counted: sums over the processes.
    """

    def __init__(self, lanes: int, counted: Counted) -> None:
        self.lanes = lanes
        self._counted = counted

    def __call__(self, own: Mapping[int, int]) -> Ints:
        """Return the number of batches of every lane, (L,), given those of our own."""
        return self._counted(np.array([own.get(lane, 0) for lane in range(self.lanes)]))


@dataclass(frozen=True)
class LanePlan:
    """The batches of one epoch, of this process's lanes.

    Attributes:
        examples: by lane.
        windows: of each batch, by lane.
        counts_L: batches of every lane, those of others too.
        seed: of chance.
        number: of the epoch.
    """

    examples: Mapping[int, Examples]
    windows: Mapping[int, list[Ints]]
    counts_L: Ints
    seed: int
    number: int

    def __len__(self) -> int:
        return int(self.counts_L.sum())

    @property
    def steps(self) -> int:
        """Steps of the optimiser: the batches of the longest lane."""
        return int(self.counts_L.max())

    def step(self, batch: int) -> Taken:
        """Return the step that begins when `batch` batches are done."""
        ends_S = np.minimum(np.arange(1, self.steps + 1)[:, None], self.counts_L).sum(axis=1)
        turn = int(np.searchsorted(ends_S, batch, side="right"))
        mine = [lane for lane, batches in self.windows.items() if turn < len(batches)]
        idle = not mine
        # Who has nothing left takes part with a batch that counts for nothing.
        chosen = [(lane, turn) for lane in mine] or [(next(iter(self.windows)), 0)]
        return Taken(
            self._made(chosen),
            len(chosen),
            int((self.counts_L > turn).sum()),
            0.0 if idle else 1.0,
        )

    def _made(self, chosen: list[tuple[int, int]]) -> Iterator[Batch]:
        for lane, turn in chosen:
            # Dropout and negatives are those of the batch, whoever computes it.
            torch.manual_seed(
                int(
                    np.random.SeedSequence([self.seed, self.number, lane, turn]).generate_state(1)[
                        0
                    ]
                )
            )
            yield Batch.of(self.examples[lane], self.windows[lane][turn])
