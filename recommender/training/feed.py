"""Which batches make a step, and who computes them.

A step of the optimiser is made of `accumulate` batches. One process computes them one by one;
several processes share them out (`recommender.training.distributed`), and come to the same step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from recommender.features.sequences import Ints
from recommender.training.batches import Batch, plan
from recommender.training.examples import Examples


@dataclass(frozen=True)
class Taken:
    """The batches of one step.

    Attributes:
        mine: those that this process computes, at least one, made one after another.
        own: how many they are.
        of: how many make the step, those of all processes together.
        weight: 1; 0 for a process that has none left in this epoch and computes one for nothing,
            so that it takes part in the exchange of gradients.
    """

    mine: Iterable[Batch]
    own: int
    of: int
    weight: float = 1.0


class Plan(Protocol):
    """The batches of one epoch, in order."""

    @property
    def steps(self) -> int:
        """Steps of the optimiser."""

    def __len__(self) -> int:
        """Batches, those of all processes together."""

    def step(self, batch: int) -> Taken:
        """Return the step that begins when `batch` batches of the epoch are done."""


class Feed(Protocol):
    """Makes the plan of each epoch; the same one whenever it is asked."""

    def epoch(self, number: int) -> Plan:
        """Return the plan of an epoch, from 0."""


@dataclass(frozen=True)
class WholeFeed:
    """All batches, for one process.

    Attributes:
        examples: what they are cut from.
        tokens: of a batch, at most.
        seed: of the order.
        accumulate: batches of a step.
    """

    examples: Examples
    tokens: int
    seed: int
    accumulate: int

    def epoch(self, number: int) -> WholePlan:
        """Return the plan of an epoch, from 0."""
        windows = plan(self.examples, self.tokens, self.seed, number)
        return WholePlan(self.examples, windows, self.accumulate)


@dataclass(frozen=True)
class WholePlan:
    """The batches of one epoch, for one process.

    Attributes:
        examples: what they are cut from.
        windows: of each batch.
        accumulate: batches of a step.
    """

    examples: Examples
    windows: list[Ints]
    accumulate: int

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def steps(self) -> int:
        """Steps of the optimiser."""
        return -(-len(self.windows) // self.accumulate)

    def step(self, batch: int) -> Taken:
        """Return the step that begins when `batch` batches are done."""
        taken = self.windows[batch : batch + self.accumulate]
        return Taken((Batch.of(self.examples, one) for one in taken), len(taken), len(taken))
