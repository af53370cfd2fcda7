"""What is done around every answer: it explores, names, logs and counts.

The predictor asks for `widened` asks, so that there is something to choose from, and hands the
answers to `finish`. Nothing here fails a request: what goes wrong in the log of served lists is
dropped and counted there.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recommender.config.exploration import ExplorationConfig
from recommender.privacy import Pseudonyms
from serving.ask import Ask
from serving.exploration import GREEDY, Chosen, Exploration, certain, seeded
from serving.feedback.request_id import SignedIds
from serving.proxy import LANE_HEADER
from serving.ranking import Answer, ByType, Found
from serving.routes import LANES, LIVE
from serving.served_log.log import ServedLog
from serving.served_log.served_list import Failure, ServedList
from serving.telemetry.logs import FIELDS, REQUESTS
from serving.telemetry.metrics import VersionMetrics

logger = logging.getLogger(REQUESTS)


@dataclass(frozen=True)
class Arrived:
    """How a request came.

    Attributes:
        lane: of the router.
        started: when, by `time.perf_counter`.
    """

    lane: str
    started: float

    @classmethod
    def of(cls, headers: Mapping[str, str] | None) -> Arrived:
        """Read the headers of a request that has just come."""
        lane = (headers or {}).get(LANE_HEADER) or LIVE
        return cls(lane, time.perf_counter())


class Observer:
    """Sees to everything around the answers of one model version.

    Args:
        version: of the model.
        ids: makes request ids.
        names: pseudonyms of users.
        metrics: of this version.
        exploration: how often lists are drawn.
        log: of served lists; None: they are not logged.
        lines: whether every answer is a line of the server's log.
    """

    def __init__(
        self,
        version: str,
        ids: SignedIds,
        names: Pseudonyms,
        metrics: VersionMetrics,
        exploration: ExplorationConfig | None = None,
        log: ServedLog | None = None,
        *,
        lines: bool = True,
    ) -> None:
        self.metrics = metrics
        self._version = version
        self._ids = ids
        self._names = names
        self._exploration = Exploration(exploration or ExplorationConfig(epsilon=0))
        self._log = log
        self._lines = lines

    def widened(self, asks: Sequence[Ask], arrived: Arrived) -> list[Ask]:
        """Return the asks as the ranker shall answer them: with as many items as are drawn from.

        Args:
            asks: of the request.
            arrived: how it came.
        """
        return [
            ask.model_copy(update={"k": self._exploration.candidates(ask.k)})
            if self._explores(ask, arrived)
            else ask
            for ask in asks
        ]

    def finish(
        self,
        asks: Sequence[Ask],
        found: Sequence[Found],
        answers: Sequence[Answer],
        arrived: Arrived,
    ) -> tuple[list[Answer], list[str]]:
        """Choose what is shown, name it, log it, count it.

        Args:
            asks: of the request, not widened.
            found: what was known of whoever asked.
            answers: to the widened asks.
            arrived: how the request came.

        Returns:
            what is shown, and the request id of each.
        """
        shown, ids = [], []
        now = time.time_ns() // 1_000_000
        for ask, known, answer in zip(asks, found, answers, strict=True):
            nonce = os.urandom(8)
            policy, chosen = GREEDY, certain(len(answer.items))
            if self._explores(ask, arrived):
                policy = self._exploration.name
                chosen = self._exploration.choose(answer.scores, ask.k, seeded(nonce.hex()))
                answer = _taken(answer, chosen.positions)
            request_id = self._ids.make(
                ask.user_id, self._version, arrived.lane, answer.items, now, nonce
            )
            self._note(ask, known, answer, chosen, policy, request_id, now, arrived)
            shown.append(answer)
            ids.append(request_id)
        return shown, ids

    def failed(self, asks: Sequence[Ask], error: BaseException, arrived: Arrived) -> None:
        """Log requests that were not answered: a rollout judges versions by them, too.

        Args:
            asks: of the request.
            error: what went wrong here, not with what was asked.
            arrived: how the request came.
        """
        now = time.time_ns() // 1_000_000
        latency = round(1000 * (time.perf_counter() - arrived.started), 3)
        for ask in asks:
            if self._log is None or not ask.record or arrived.lane not in LANES:
                continue
            user = "" if ask.user_id is None else self._names.of(ask.user_id)
            name = self._ids.make(ask.user_id, self._version, arrived.lane, (), now)
            kind = type(error).__name__
            self._log.record(Failure(name, now, user, self._version, arrived.lane, kind, latency))

    def named(self, ask: Ask, answer: Answer, arrived: Arrived) -> str:
        """Return the request id of an answer that is neither drawn nor logged.

        Args:
            ask: what was asked.
            answer: to it.
            arrived: how the request came.
        """
        now = time.time_ns() // 1_000_000
        return self._ids.make(ask.user_id, self._version, arrived.lane, answer.items, now)

    def _explores(self, ask: Ask, arrived: Arrived) -> bool:
        # The rehearsal compares versions on the same questions: chance would be in its way.
        return ask.explore and ask.candidates is None and arrived.lane == LIVE

    def _note(
        self,
        ask: Ask,
        known: Found,
        answer: Answer,
        chosen: Chosen,
        policy: str,
        request_id: str,
        now: int,
        arrived: Arrived,
    ) -> None:
        as_of = known.events.as_of
        self.metrics.read(known.read_s, None if as_of is None else (now - as_of) / 1000)
        self.metrics.answered(answer.fallback)
        latency = round(1000 * (time.perf_counter() - arrived.started), 3)
        user = "" if ask.user_id is None else self._names.of(ask.user_id)
        # What a shadow answers nobody is shown.
        if self._log is not None and ask.record and answer.items and arrived.lane in LANES:
            self._log.record(
                ServedList(
                    request_id=request_id,
                    time=now,
                    user=user,
                    version=self._version,
                    lane=arrived.lane,
                    surface=ask.surface,
                    items=answer.items,
                    scores=answer.scores,
                    propensities=chosen.propensities.tolist(),
                    marginals=chosen.marginals.tolist(),
                    policy=policy,
                    fallback=answer.fallback,
                    latency_ms=latency,
                )
            )
        if self._lines:
            fields = {
                "request_id": request_id,
                "user": user,
                "model_version": self._version,
                "lane": arrived.lane,
                "surface": ask.surface,
                "items": len(answer.items),
                "history": answer.history,
                "fallback": answer.fallback,
                "latency_ms": latency,
            }
            logger.info("answered", extra={FIELDS: fields})


def _taken(answer: Answer, positions: NDArray[np.int64]) -> Answer:
    """Return an answer with some of its items, in another order."""
    rows = positions.tolist()

    def chosen(numbers: ByType | None) -> ByType | None:
        return numbers and {
            name: tuple(each[row] for row in rows) for name, each in numbers.items()
        }

    return replace(
        answer,
        items=tuple(answer.items[row] for row in rows),
        titles=tuple(answer.titles[row] for row in rows),
        scores=tuple(answer.scores[row] for row in rows),
        tasks=chosen(answer.tasks),
        values=chosen(answer.values),
    )
