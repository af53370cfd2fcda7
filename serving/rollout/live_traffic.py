"""The people themselves as traffic: what the router saw of their requests, and what they took.

Answers come from the router (`serving.observed`): the arm that a user belongs to, whether it
failed, how long it took. Outcomes come from the served lists and their feedback, once the time is
over in which a reaction counts. A list that another arm than the user's own has made (it stood in
for an arm that was down) is nobody's outcome.

Where there is no such router, on a cluster, the served lists tell of the answers, too, and the log
of failed requests of the others. A server that is gone logs nothing: that is the target's to notice
(`Target.check`).
"""

from __future__ import annotations

import hashlib
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recommender.config import Config
from recommender.served import joined
from recommender.served_store import ServedStore, store_of
from serving.observed import Reader
from serving.rollout.records import Arm, Record, Tells
from serving.routes import LIVE


class LiveTraffic:
    """Live requests as they become known. A `serving.rollout.target.Arrivals`.

    Args:
        config: of the data set.
        versions: which arm a version stands for.
        observed: where the router writes what it sees; None where there is no router of ours.
        served: the served lists and their feedback; None: where the configuration says.
        wall_ms: UTC milliseconds.
    """

    def __init__(
        self,
        config: Config,
        versions: Mapping[str, Arm],
        observed: Path | None,
        served: ServedStore | None = None,
        wall_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._config, self._versions, self._wall_ms = config, dict(versions), wall_ms
        self._reader = Reader(observed) if observed else None
        self._served = served or store_of(config.serving.log, config.paths)
        self._begins: dict[int, int] = {}
        self._arm_of: dict[tuple[str, int], Arm] = {}
        self._known: set[tuple[str, Tells]] = set()
        self._looked = 0

    @property
    def fingerprint(self) -> str:
        """A hash of the arms, and of where their traffic is told of."""
        arms = sorted(f"{version} {arm}" for version, arm in self._versions.items())
        told = "\0".join(["live", self._served.location, *arms])
        return hashlib.sha256(told.encode()).hexdigest()

    def begin(self, step: int, began_ms: int, known: Sequence[Record]) -> None:
        """Tell of this step from here on; see `Arrivals.begin`."""
        self._begins[step] = began_ms
        for record in known:
            self._note(record)
            if record.time and record.step != step:
                first = self._begins.get(record.step, record.time)
                self._begins[record.step] = min(first, record.time)

    def arrived(self) -> Sequence[Record]:
        """Return what has become known since the last call; see `Arrivals.arrived`."""
        found = []
        for record in (*self._answers(), *self._from_lists()):
            if (record.request, record.tells) not in self._known:
                self._note(record)
                found.append(record)
        return found

    def _note(self, record: Record) -> None:
        self._known.add((record.request, record.tells))
        if record.tells is Tells.ANSWER:
            self._arm_of[record.user, record.step] = record.arm

    def _answers(self) -> Iterator[Record]:
        """What the router saw; the share that was in force says which step it belongs to."""
        steps = self._config.rollout.steps
        first = min(self._begins.values(), default=0)
        limit_ms = 1000 * self._config.rollout.request_timeout_s
        for row in self._reader.take() if self._reader else ():
            version, percent = row["version"], row["percent"]
            if version not in self._versions or percent not in steps or row["time"] < first:
                continue
            wrong = row["error"]
            if not wrong and row["latency_ms"] > limit_ms:
                wrong = f"took {row['latency_ms'] / 1000:.1f} s"
            yield Record(
                user=row["user"],
                step=steps.index(percent),
                arm=self._versions[version],
                version=version,
                status=row["status"],
                latency_ms=row["latency_ms"],
                hit=None,
                error=wrong,
                request=row["request"],
                tells=Tells.ANSWER,
                time=row["time"],
            )

    def _from_lists(self) -> Iterator[Record]:
        """What the served lists tell: outcomes that are due, and answers where no router does."""
        now, look = self._wall_ms(), 1000 * self._config.rollout.live.look_every_s
        if not self._begins or now - self._looked < look:
            return
        self._looked = now
        first = min(self._begins.values())
        served = self._ours(self._served.read("served", first))
        if self._reader is None:
            for list_ in _lists(served):
                yield self._record(list_, Tells.ANSWER, None)
            failed = self._ours(self._served.read("failed", first))
            moments = failed["time"].cast(pa.int64()).to_pylist()
            for row, moment in zip(failed.to_pylist(), moments, strict=True):
                told = self._record({**row, "time": moment, "fallback": None}, Tells.ANSWER, None)
                yield replace(told, status=500, error=str(row["error"]))
        # A list and a reaction to it wait for their writers; then it is due for both arms alike.
        log = self._config.serving.log
        window = int(1000 * self._config.rollout.live.attribution_s)
        due = now - window - int(2000 * log.rotate_s)
        ripe = served.filter(pc.less_equal(served["time"].cast(pa.int64()), due))
        if not len(ripe):
            return
        successes = self._config.actions.successes
        outcomes = joined(ripe, self._served.read("feedback", first), window, successes)
        hits = set(outcomes.filter(outcomes["rewarded"])["request_id"].to_pylist())
        for list_ in _lists(ripe):
            record = self._record(list_, Tells.OUTCOME, list_["request_id"] in hits)
            if self._reader is None or self._arm_of.get((record.user, record.step)) is record.arm:
                yield record

    def _ours(self, rows: pa.Table) -> pa.Table:
        """Return what the arms did for people."""
        versions = pa.array(list(self._versions))
        live = pc.equal(rows["lane"], LIVE)
        return rows.filter(pc.and_(live, pc.is_in(rows["version"], value_set=versions)))

    def _record(self, row: Mapping[str, object], tells: Tells, hit: bool | None) -> Record:
        moment, version = int(str(row["time"])), str(row["version"])
        latency, fallback = row["latency_ms"], row["fallback"]
        return Record(
            user=str(row["user"]) or str(row["request_id"]),
            step=self._step_at(moment),
            arm=self._versions[version],
            version=version,
            status=200,
            latency_ms=float(str(latency)) if latency is not None else 0.0,
            hit=hit,
            fallback=None if fallback is None else str(fallback),
            request=str(row["request_id"]),
            tells=tells,
            time=moment,
        )

    def _step_at(self, moment: int) -> int:
        """Return the step in which something was served."""
        begins = sorted((began, step) for step, began in self._begins.items())
        place = bisect_right([began for began, _ in begins], moment)
        return begins[max(place - 1, 0)][1]


def _lists(served: pa.Table) -> list[dict[str, object]]:
    """Return one row per served list, in the order of time."""
    firsts = served.filter(pc.equal(served["position"], 1))
    columns = ["request_id", "time", "user", "version", "latency_ms", "fallback"]
    rows: list[dict[str, object]] = (
        firsts.select(columns)
        .set_column(1, "time", firsts["time"].cast(pa.int64()))
        .sort_by("time")
        .to_pylist()
    )
    return rows
