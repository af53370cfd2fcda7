"""The durable state of rollouts: one folder each, written whole at every transition.

<rollouts>/<id>/state.json      phase, step, verdicts and timeline; replaced atomically
<rollouts>/<id>/records.jsonl   what was seen of each request; only appended to
<rollouts>/<id>/shadow.jsonl    what was seen of each copied request
<rollouts>/<id>/intent.json     what a person wants of it (`serving.rollout.intent`)
<rollouts>/lock                 held by whoever drives a rollout; falls with its process
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from recommender.errors import RolloutError
from recommender.files import read_json, write_json
from serving.rollout.analysis import Analysis
from serving.rollout.plan import Plan
from serving.rollout.records import Journal
from serving.rollout.shadow import Comparisons

FORMAT = 1


class Phase(StrEnum):
    """Where a rollout is. Every phase can be entered again after a kill."""

    STARTING = "starting"
    """Both arms are being started."""

    SHADOWING = "shadowing"
    """The candidate answers a copy of the live traffic, to nobody."""

    STEPPING = "stepping"
    """The candidate gets its share and is judged."""

    PROMOTING = "promoting"
    """It has won; the live features and a live server of it are being made ready."""

    COMMITTING = "committing"
    """The registry and the live traffic are being switched: forward, or all the way back."""

    ROLLING_BACK = "rolling_back"
    """The candidate is being taken away."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"

    @property
    def final(self) -> bool:
        """Whether nothing is left to do."""
        return self in (Phase.PROMOTED, Phase.ROLLED_BACK)


@dataclass(frozen=True)
class Moment:
    """One entry of the timeline: when (UTC, ISO 8601) and what."""

    time: str
    phase: Phase
    note: str


@dataclass(frozen=True)
class State:
    """One rollout.

    Attributes:
        id: names its folder; sorts by time.
        candidate: version that wants the traffic.
        stable: version that has it: the champion when the rollout began.
        fingerprint: of the settings and the users; a rollout goes on only with the same.
        plan: steps and users.
        phase: where it is.
        step: index of the step at hand.
        analyses: the latest of each step that was judged (`Analysis.to_dict`).
        reason: why it was promoted or rolled back.
        lost: whether it was rolled back for what it is, and not because something broke off.
        timeline: all transitions, the oldest first.
        traffic: `replay` or `live`.
        soaked_s: for how long the step at hand has been watched.
        began_ms: when the step at hand was given its share, UTC milliseconds; 0 before.
        shadow: the latest analysis of the shadow (`Analysis.to_dict`), None where there was none.
        memory: resident MiB of both arms while they were watched: (seconds, stable, candidate).
    """

    id: str
    candidate: str
    stable: str
    fingerprint: str
    plan: Plan
    phase: Phase = Phase.STARTING
    step: int = 0
    analyses: tuple[dict[str, Any], ...] = ()
    reason: str = ""
    lost: bool = False
    timeline: tuple[Moment, ...] = ()
    traffic: str = "replay"
    soaked_s: float = 0.0
    began_ms: int = 0
    shadow: dict[str, Any] | None = None
    memory: tuple[tuple[float, float, float], ...] = ()

    @property
    def judgements(self) -> tuple[dict[str, Any], ...]:
        """All analyses so far, the shadow's first."""
        return (*((self.shadow,) if self.shadow else ()), *self.analyses)

    def moved(self, phase: Phase, note: str) -> State:
        """Return the state after a transition, with an entry in the timeline."""
        moment = Moment(datetime.now(UTC).isoformat(timespec="milliseconds"), phase, note)
        return replace(self, phase=phase, timeline=(*self.timeline, moment))

    def judged(self, analysis: Analysis) -> State:
        """Return the state with a new analysis of the step at hand."""
        told = {**analysis.to_dict(), "percent": self.plan.steps[self.step].percent}
        return replace(self, analyses=(*self.analyses[: self.step], told))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"format": FORMAT, **asdict(self), "plan": self.plan.to_dict()}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> State:
        """Read what `to_dict` wrote."""
        known = {key: value for key, value in told.items() if key != "format"}
        return cls(
            **{
                **known,
                "plan": Plan.from_dict(told["plan"]),
                "phase": Phase(told["phase"]),
                "analyses": tuple(told["analyses"]),
                "memory": tuple(tuple(sample) for sample in told.get("memory", ())),
                "timeline": tuple(
                    Moment(m["time"], Phase(m["phase"]), m["note"]) for m in told["timeline"]
                ),
            }
        )


class Rollouts:
    """All rollouts of a workspace.

    Args:
        folder: that holds a folder per rollout.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(
        self, candidate: str, stable: str, fingerprint: str, plan: Plan, traffic: str = "replay"
    ) -> State:
        """Write the first state of a new rollout and return it."""
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{candidate}"
        state = State(name, candidate, stable, fingerprint, plan, traffic=traffic)
        whom = f"{plan.users} users" if traffic == "replay" else "live traffic"
        state = state.moved(Phase.STARTING, f"{candidate} against {stable}, {whom}")
        self.save(state)
        return state

    def save(self, state: State) -> None:
        """Replace the state on disk, atomically.

        Raises:
            StorageError: the disk is full or the folder can't be written; the old state holds.
        """
        write_json(self.folder / state.id / "state.json", state.to_dict())

    def of(self, state: State) -> Path:
        """Return the folder of a rollout."""
        return self.folder / state.id

    def journal(self, state: State) -> Journal:
        """Return the records of a rollout."""
        return Journal(self.of(state) / "records.jsonl")

    def comparisons(self, state: State) -> Comparisons:
        """Return what was compared in a rollout's shadow."""
        return Comparisons(self.of(state) / "shadow.jsonl")

    def all(self) -> tuple[State, ...]:
        """Return every rollout, the oldest first.

        Raises:
            RolloutError: a state is of a format that we don't know, or damaged.
        """
        return tuple(self._read(path) for path in sorted(self.folder.glob("*/state.json")))

    def unfinished(self) -> tuple[State, ...]:
        """Return the rollouts that were cut off, the oldest first."""
        return tuple(state for state in self.all() if not state.phase.final)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the right to drive rollouts here; a process that dies lets go of it.

        Raises:
            RolloutError: another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RolloutError(
                    f"another process drives a rollout in {self.folder}",
                    "wait until it has ended, then run again",
                ) from None
            yield

    @property
    def driven(self) -> bool:
        """Whether a process drives a rollout here at this moment."""
        try:
            with self.locked():
                return False
        except RolloutError:
            return True

    @staticmethod
    def _read(path: Path) -> State:
        told = read_json(path)
        try:
            if told["format"] != FORMAT:
                raise RolloutError(f"{path} is of a format that this version doesn't know")
            return State.from_dict(told)
        except (KeyError, TypeError, ValueError) as error:
            raise RolloutError(
                f"{path} is damaged: {error!r}",
                "move its folder away; what is served and the champion don't depend on it",
            ) from error
