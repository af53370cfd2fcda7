"""Whether a candidate leaks: its memory against the champion's while both are served.

Memory is no sample of anything, so there is no chance of error to state. The rule is plain: a
candidate leaks if it keeps rising and has grown by more than a limit beyond what the champion has.
Rising is told by Mann and Kendall's count of pairs (Kendall 1975), which no single jump fools.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recommender.config.rollout_traffic import MemoryConfig
from serving.rollout.guardrails import Finding, Verdict

# Share of pairs in time that must have risen, less those that have fallen.
_RISING = 0.6
_KEPT = 240

Sample = tuple[float, float, float]


def thinned(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the samples, every second one of them if they have become many."""
    return tuple(samples) if len(samples) <= _KEPT else tuple(samples[::2])


def judge(samples: Sequence[Sample], config: MemoryConfig) -> tuple[Finding, ...]:
    """Judge what was measured.

    Args:
        samples: (seconds, champion's MiB, candidate's MiB), in the order of time.
        config: the limit.

    Returns:
        one finding; none at all where nothing was measured, because the target can't.
    """
    if not samples:
        return ()
    seconds, stable, candidate = np.array(samples, float).T
    if len(samples) < config.samples:
        told = f"{len(samples)} measurements, {config.samples} are needed"
        return (Finding("memory", Verdict.PROMOTE, told, {"samples": float(len(samples))}),)
    grown, beside = _growth(candidate), _growth(stable)
    slope = float(np.polyfit(seconds - seconds[0], candidate, 1)[0]) if np.ptp(seconds) else 0.0
    numbers = {
        "candidate_mib": float(candidate[-1]),
        "stable_mib": float(stable[-1]),
        "candidate_growth_mib": grown,
        "stable_growth_mib": beside,
        "mib_per_minute": 60 * slope,
        "limit": config.growth_mib,
    }
    told = (
        f"the candidate's memory grew by {grown:.0f} MiB to {candidate[-1]:.0f} MiB "
        f"({60 * slope:+.1f} MiB a minute), the champion's by {beside:.0f} MiB "
        f"(limit {config.growth_mib:g} MiB more)"
    )
    if grown - max(beside, 0.0) < config.growth_mib:
        return (Finding("memory", Verdict.PROMOTE, told, numbers),)
    if trend(candidate) >= _RISING:
        return (Finding("memory", Verdict.ROLL_BACK, f"{told}: it leaks", numbers),)
    return (Finding("memory", Verdict.HOLD, f"{told}, though not steadily", numbers),)


def trend(values: NDArray[np.float64]) -> float:
    """Return Kendall's tau against time: 1 rises always, -1 falls always, 0 is no trend."""
    n = len(values)
    if n < 2:
        return 0.0
    rows, columns = np.triu_indices(n, 1)
    return float(np.sign(values[columns] - values[rows]).sum() / (n * (n - 1) / 2))


def _growth(values: NDArray[np.float64]) -> float:
    """Return how much higher the end lies than the beginning, by medians of a sixth each."""
    part = max(len(values) // 6, 1)
    return float(np.median(values[-part:]) - np.median(values[:part]))
