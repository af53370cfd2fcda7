"""What was seen of live traffic, in columns: a million requests fit into some megabytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from serving.rollout.clustered import Cells
from serving.rollout.records import Arm, Record, Tells

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Columns:
    """One column each for user, step, arm, a flag and a number (N rows)."""

    def __init__(self) -> None:
        self._user, self._step = array("l"), array("b")
        self._candidate, self._flag, self._value = array("b"), array("b"), array("f")

    def append(self, user: int, step: int, candidate: bool, flag: bool, value: float) -> None:
        """Add one row."""
        self._user.append(user)
        self._step.append(step)
        self._candidate.append(candidate)
        self._flag.append(flag)
        self._value.append(value)

    def __len__(self) -> int:
        return len(self._user)

    @property
    def user(self) -> Integers:
        """Codes of the users, (N,)."""
        return np.array(self._user, np.int64)

    @property
    def step(self) -> Integers:
        """Indexes of the steps, (N,)."""
        return np.array(self._step, np.int64)

    @property
    def candidate(self) -> Bools:
        """Whether the candidate's arm answered, (N,)."""
        return np.array(self._candidate, bool)

    @property
    def flag(self) -> Bools:
        """Failed, or hit, (N,)."""
        return np.array(self._flag, bool)

    @property
    def value(self) -> Floats:
        """Latency in milliseconds, (N,)."""
        return np.array(self._value, float)

    def cells(self, chosen: Bools, event: Bools) -> Cells:
        """Sum up chosen rows by user, step and arm."""
        return Cells.of(self.user[chosen], self.step[chosen], self.candidate[chosen], event[chosen])


class LiveEvidence:
    """Everything seen of a rollout's live traffic so far.

    Attributes:
        answers: one row per answer; the flag says that it failed, the value is its latency.
        outcomes: one row per request of which it can be told; the flag says that it was a hit.
        fallbacks: answers made without a history, by step and arm.
        example: what was wrong with the first failed answer of the candidate.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.answers, self.outcomes = Columns(), Columns()
        self.fallbacks: dict[tuple[int, Arm], int] = {}
        self.example = ""
        # Of each user: the step and the arm of the first answer.
        self.firsts: dict[int, tuple[int, bool, bool]] = {}
        self._codes: dict[str, int] = {}
        self.add(records)

    def add(self, records: Iterable[Record]) -> None:
        """Take in what has become known."""
        for record in records:
            user = self._codes.setdefault(record.user, len(self._codes))
            ours = record.arm is Arm.CANDIDATE
            if record.tells is not Tells.OUTCOME:
                self.firsts.setdefault(user, (record.step, ours, record.failed))
                self.answers.append(user, record.step, ours, record.failed, record.latency_ms)
                if record.fallback is not None:
                    key = (record.step, record.arm)
                    self.fallbacks[key] = self.fallbacks.get(key, 0) + 1
                if ours and record.failed and not self.example:
                    self.example = record.error
            if record.tells is not Tells.ANSWER and record.hit is not None:
                self.outcomes.append(user, record.step, ours, record.hit, 0.0)
