"""What the rankers learn from: items in front of people, and how far they went with them.

The cases are those on which heads are judged (`recommender.features.cases`): the first touch of an
item in a session, asked at the moment it was shown, with the history strictly before that.

Shape letters: N cases, B of them in a batch, T events in the longest history, K items asked about,
A event types, F popularity features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recommender.baselines.neural.past_popularity import PastPopularity
from recommender.config import Config
from recommender.evaluation.metrics.classification import mean_user_auc
from recommender.features.cases import Cases, cases, drawn
from recommender.features.dataset import Dataset
from recommender.features.sequences import EventLog, Histories, Ints
from recommender.model.padded import Padded, tensor
from recommender.scoring import Floats

_AT_ONCE = 2048
_MOST_JUDGED = 20_000

Answer = Callable[[Histories, Ints], Floats]
"""How likely each event type is: histories and items (B, K) → (B, K, A)."""


@dataclass(frozen=True)
class Asked:
    """Items put in front of people, as tensors.

    Attributes:
        events: the histories, (B, T).
        now: the moment of asking, UTC milliseconds, (B,).
        items: catalogue rows, (B, K).
        popularity: log popularity of the items as of the moments, (B, K, F).
    """

    events: Padded
    now: Tensor
    items: Tensor
    popularity: Tensor

    @classmethod
    def of(
        cls, histories: Histories, items: NDArray[np.int64], popularity: NDArray[np.float32]
    ) -> Self:
        """Make tensors.

        Args:
            histories: B of them.
            items: asked about, catalogue rows, (B, K).
            popularity: of the items, (B, K, F).
        """
        return cls(
            Padded.cut(histories, histories.offsets[:-1], histories.lengths),
            tensor(histories.now),
            tensor(items),
            torch.from_numpy(popularity),
        )


@dataclass(frozen=True)
class Judged:
    """A batch to learn from.

    Attributes:
        asked: one item each, (B, 1).
        reached: the farthest event type, code - 1, (B,).
    """

    asked: Asked
    reached: Tensor


@dataclass(frozen=True)
class RankingCases:
    """The cases of a window of time.

    Attributes:
        history: events of the types that make history.
        log: all events.
        found: the cases, places in `log`.
        limit: most recent events of a history that are read.
    """

    history: EventLog
    log: EventLog
    found: Cases
    limit: int

    @classmethod
    def between(cls, dataset: Dataset, start: int, stop: int, config: Config) -> Self:
        """Find the cases of a window.

        Args:
            dataset: the log of all event types.
            start: of the window, UTC milliseconds; histories reach back behind it.
            stop: nothing at or after this moment is read.
            config: the event types, and how far back is read.
        """
        log = dataset.log.before(stop)
        history = log.of_types(config.actions.histories, config.actions)
        found = cases(log, len(dataset.catalogue), start, stop)
        return cls(history, log, found, config.model.history)

    def __len__(self) -> int:
        return len(self.found)

    def histories(self, rows: Ints) -> Histories:
        """Return what lay strictly before some cases."""
        users = self.log.user_of_event[self.found.rows[rows]]
        return self.history.histories(users, self.found.moments[rows], self.limit)

    def items(self, rows: Ints) -> Ints:
        """Return the items of some cases, (N,)."""
        return self.log.items[self.found.rows[rows]].astype(np.int64)

    def batches(
        self, size: int, past: PastPopularity, random: np.random.Generator
    ) -> Iterator[Judged]:
        """Yield all cases, those with histories of like length together."""
        users = self.log.user_of_event[self.found.rows]
        start, stop = self.history.windows(users, self.found.moments, self.limit)
        order = np.argsort((stop - start + 4) * (1 + 0.2 * random.random(len(users))))
        starts = random.permutation(np.arange(0, len(order), size))
        for place in starts:
            rows = order[place : place + size]
            # Dice normalises by what a batch holds: one case alone has no spread.
            if len(rows) > 1 or len(order) == 1:
                items = self.items(rows)
                known = past.of(items, self.found.moments[rows])
                asked = Asked.of(self.histories(rows), items[:, None], known[:, None])
                yield Judged(asked, tensor(self.found.reached[rows] - 1))

    def quality(self, answer: Answer, seed: int) -> float:
        """Return how well event types are told apart, higher is better.

        The mean over event types of the AUC within users: of each type but the least, whether a
        case goes at least so far. Where no user has cases of both kinds, minus the log loss.

        Args:
            answer: of a ranker.
            seed: of the draw where there are very many cases.
        """
        asked = replace(self, found=drawn(self.found, _MOST_JUDGED, seed))
        rows = np.arange(len(asked))
        parts = [
            answer(asked.histories(some), asked.items(some)[:, None])[:, 0]
            for some in np.array_split(rows, -(-len(rows) // _AT_ONCE))
        ]
        chances_NA = np.concatenate(parts).astype(np.float64)
        users, reached = self.log.user_of_event[asked.found.rows], asked.found.reached
        area = mean_user_auc(users, reached, chances_NA)
        if not np.isnan(area):
            return area
        likely_N = chances_NA[np.arange(len(rows)), reached - 1]
        return float(np.log(np.maximum(likely_N, 1e-12)).mean())


def item_loss(logits_BA: Tensor, reached_B: Tensor) -> Tensor:
    """Return the mean cross-entropy of the farthest event type, nats."""
    return torch.nn.functional.cross_entropy(logits_BA, reached_B)
