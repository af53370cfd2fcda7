"""Which pictures a rollout's page shows: the curves of both arms, its shadow, its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from recommender.config.rollout import RolloutConfig
from serving.rollout.clustered import Cells, reach_of_rate
from serving.rollout.curves import Chart, Floats, Series, draw, framed, steps_of
from serving.rollout.live_evidence import Columns, LiveEvidence
from serving.rollout.plan import Plan
from serving.rollout.records import Arm, Record
from serving.rollout.shadow import Comparison
from serving.rollout.state import Phase, State

Bools = NDArray[np.bool_]
_Codes = NDArray[np.int64]
# From the rows of one arm so far to an estimate with its lower and upper end.
_Point = Callable[[_Codes], tuple[float, float, float]]
_POSITIONS = 60


@dataclass(frozen=True)
class Share:
    """From when on the candidate had which share, as percent of the page's width.

    Attributes:
        start: where the bar begins.
        width: of the bar.
        percent: of the traffic.
        label: in it.
    """

    start: float
    width: float
    percent: float
    label: str


def traffic_steps(state: State) -> tuple[Share, ...]:
    """Return the candidate's shares over time, up to the last moment of the timeline."""
    times = [datetime.fromisoformat(moment.time).timestamp() for moment in state.timeline]
    whole = max(times[-1] - times[0], 1e-9)
    found: list[Share] = []
    now, label, since = 0.0, "0 %", times[0]
    for moment, at in zip(state.timeline, times, strict=True):
        then = _share_after(moment.phase, moment.note)
        if then is None:
            continue
        found.append(_bar(since, at, times[0], whole, now, label))
        (now, label), since = then, at
    found.append(_bar(since, times[-1], times[0], whole, now, label))
    return tuple(share for share in found if share.width > 0)


def _bar(
    since: float, until: float, first: float, whole: float, percent: float, label: str
) -> Share:
    return Share(100 * (since - first) / whole, 100 * (until - since) / whole, percent, label)


def _share_after(phase: Phase, note: str) -> tuple[float, str] | None:
    match phase:
        case Phase.SHADOWING:
            return 0.0, "shadow"
        case Phase.STEPPING:
            number = note.partition(" %")[0]
            return (float(number), f"{number} %") if number.isdigit() else None
        case Phase.PROMOTED:
            return 100.0, "100 %"
        case Phase.ROLLING_BACK | Phase.ROLLED_BACK | Phase.STARTING:
            return 0.0, "0 %"
        case _:
            return None


def charts(
    state: State,
    records: Sequence[Record],
    config: RolloutConfig,
    compared: Sequence[Comparison] = (),
) -> tuple[Chart, ...]:
    """Draw everything there is to see of a rollout.

    Args:
        state: of the rollout.
        records: what was seen of each request.
        config: for the level of the bands.
        compared: what the shadow has compared.
    """
    alpha = config.false_alarm
    found = [*_shadow(compared, alpha)] if compared else []
    if state.traffic == "live":
        found += _live(LiveEvidence(records), state.plan, alpha)
    else:
        found += draw(records, state.plan, config)
    return (*found, *_memory(state))


def _live(seen: LiveEvidence, plan: Plan, alpha: float) -> list[Chart]:
    """Draw rates of requests with bands over users."""
    found = []
    if len(seen.outcomes):
        chosen = _concurrent(plan)[seen.outcomes.step]
        found.append(_rate("Hit rate", seen.outcomes, chosen, plan, alpha))
    if len(seen.answers):
        everything = np.ones(len(seen.answers), bool)
        found.append(_rate("Failed requests", seen.answers, everything, plan, alpha))
        chosen = ~seen.answers.flag
        found.append(_p95("Latency, 95th percentile", seen.answers, chosen, plan, alpha))
    return found


def _shadow(compared: Sequence[Comparison], alpha: float) -> list[Chart]:
    """Draw the overlap of the lists, and both latencies, while copies were answered."""
    total = len(compared)
    positions = _positions(total)
    users: dict[str, int] = {}
    codes = np.array([users.setdefault(one.user, len(users)) for one in compared])
    overlaps = np.array([np.nan if one.overlap is None else one.overlap for one in compared])
    points = []
    for position in positions:
        told = ~np.isnan(overlaps[:position])
        values, user = overlaps[:position][told], codes[:position][told]
        points.append(_point(user, values, alpha))
    across = 100 * positions / total
    line, low, high = 100 * np.array(points, float).T
    series: dict[Arm, Series] = {Arm.CANDIDATE: (across, line, low, high)}
    found = [framed("Shadow: overlap with the champion's items", "%", series, (), total)]
    series = {}
    good = np.array([not one.error for one in compared], bool)
    for arm in Arm:
        taken = np.array(
            [one.stable_ms if arm is Arm.STABLE else one.candidate_ms for one in compared]
        )
        points = [_quantile(codes[:n][good[:n]], taken[:n][good[:n]], alpha) for n in positions]
        line, low, high = np.array(points, float).T
        series[arm] = (across, line, low, high)
    return [*found, framed("Shadow: latency, 95th percentile", "ms", series, (), total)]


def _memory(state: State) -> list[Chart]:
    if len(state.memory) < 2:
        return []
    seconds, stable, candidate = np.array(state.memory, float).T
    across = 100 * (seconds - seconds[0]) / max(float(np.ptp(seconds)), 1e-9)
    series = {
        Arm.STABLE: (across, stable, stable, stable),
        Arm.CANDIDATE: (across, candidate, candidate, candidate),
    }
    return [framed("Memory", "MiB", series, (), len(state.memory))]


def _rate(title: str, seen: Columns, chosen: Bools, plan: Plan, alpha: float) -> Chart:
    flag, user = seen.flag, seen.user
    return _followed(
        title, "%", seen, chosen, plan, lambda rows: _point(user[rows], flag[rows], alpha), 100.0
    )


def _p95(title: str, seen: Columns, chosen: Bools, plan: Plan, alpha: float) -> Chart:
    value, user = seen.value, seen.user
    return _followed(
        title, "ms", seen, chosen, plan, lambda rows: _quantile(user[rows], value[rows], alpha), 1.0
    )


def _followed(
    title: str,
    unit: str,
    seen: Columns,
    chosen: Bools,
    plan: Plan,
    point: _Point,
    scale: float,
) -> Chart:
    rows = np.flatnonzero(chosen)
    positions = _positions(len(rows))
    series: dict[Arm, Series] = {}
    ours = seen.candidate
    for arm in Arm:
        mine = rows[ours[rows] == (arm is Arm.CANDIDATE)]
        ends = np.searchsorted(mine, rows[positions - 1], side="right") if len(rows) else positions
        points = np.array([point(mine[:end]) for end in ends], float).reshape(-1, 3)
        line, low, high = scale * points.T
        series[arm] = (100 * positions / max(len(rows), 1), line, low, high)
    return framed(title, unit, series, steps_of(seen.step[rows].tolist(), plan), len(rows))


def _point(user: _Codes, values: Floats | Bools, alpha: float) -> tuple[float, float, float]:
    """Return a mean over requests and its band over users."""
    if not len(values):
        return float("nan"), 0.0, 1.0
    rate = float(np.mean(values))
    reach = reach_of_rate(Cells.alone(user, np.asarray(values, float)), alpha)
    return rate, max(rate - reach, 0.0), min(rate + reach, 1.0)


def _quantile(user: _Codes, values: Floats, alpha: float) -> tuple[float, float, float]:
    """Return the 95th percentile and its band: the quantiles that its share may really be."""
    if not len(values):
        return float("nan"), 0.0, float("inf")
    middle = float(np.percentile(values, 95))
    reach = reach_of_rate(Cells.alone(user, (values > middle).astype(float)), alpha)
    low = float(np.quantile(values, max(0.95 - reach, 0.0)))
    high = float(np.quantile(values, 0.95 + reach)) if 0.95 + reach < 1 else float("inf")
    return middle, low, high


def _positions(total: int) -> _Codes:
    return np.unique(np.linspace(1, max(total, 1), _POSITIONS).astype(np.int64))


def _concurrent(plan: Plan) -> Bools:
    return np.array([step.concurrent for step in plan.steps], bool)
