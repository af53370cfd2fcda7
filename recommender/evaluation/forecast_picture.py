"""How much smaller the error of each forecast is than the seasonal-naive one's, as a picture."""

from __future__ import annotations

from recommender.evaluation.backtest_facts import BacktestFacts, GroupFacts, MethodFacts
from recommender.evaluation.evidence import Evidence
from recommender.evaluation.picture import Picture, Row, axis
from recommender.evaluation.records import Interval

_METRIC = "mase"


def draw(backtest: BacktestFacts | None) -> Picture | None:
    """Lay out the first group of series, the best method first; None where there is none.

    A gain is one minus the ratio of the errors: right of the line at 0 the method errs less.
    """
    if backtest is None or not backtest.groups:
        return None
    compared = _compared(backtest.groups[0])
    if not compared:
        return None
    ends = [end for _, gain in compared for end in (gain.low, gain.high, gain.estimate)]
    place, ticks = axis([0.0, *(100 * end for end in ends if end is not None)])
    rows = []
    for facts, gain in compared:
        estimate = gain.estimate or 0.0
        low = estimate if gain.low is None else gain.low
        high = estimate if gain.high is None else gain.high
        known = gain.low is not None
        spread = f" ({low:+.1%} to {high:+.1%})" if known else ""
        rows.append(
            Row(
                rival=facts.method,
                said=f"{estimate:+.1%}{spread}",
                more=f"MASE {facts.errors[_METRIC].estimate:.3f}",
                side="better" if known and low > 0 else "worse" if known and high < 0 else "unsure",
                estimate=place(100 * estimate),
                low=place(100 * low),
                high=place(100 * high),
                asked=None,
            )
        )
    return Picture(tuple(rows), ticks, place(0.0))


def helped(evidence: Evidence) -> str | None:
    """Say whether forecasts helped the popularity baseline; None where it wasn't measured."""
    found = evidence.forecast_popularity
    if found is None:
        return None
    primary = evidence.primary
    ours, theirs = found.candidate[primary].estimate, found.rival_metrics[primary].estimate
    difference = found.difference[primary]
    if ours is None or theirs is None or difference.estimate is None:
        return None
    if difference.low is None or difference.high is None:
        verdict = "too few users to tell whether they helped"
    elif difference.low > 0:
        verdict = "forecasts helped it"
    elif difference.high < 0:
        verdict = "forecasts harmed it"
    else:
        verdict = "these users can't tell whether forecasts help it"
    spread = (
        f" ({difference.low:+.4f} to {difference.high:+.4f})"
        if difference.low is not None and difference.high is not None
        else ""
    )
    return (
        f"The popularity baseline: {verdict}. {primary.upper()} {ours:.4f} by forecast demand "
        f"(trend-popularity) against {theirs:.4f} by recent demand (recent-popularity), a "
        f"difference of {difference.estimate:+.4f}{spread}, {found.users:,} users."
    )


def _compared(group: GroupFacts) -> list[tuple[MethodFacts, Interval]]:
    """Return the methods with their gains over the seasonal-naive one, best first."""
    gains = [
        (facts, _gain(facts.over_seasonal_naive[_METRIC]))
        for facts in group.methods
        if facts.over_seasonal_naive is not None
    ]
    known = [(facts, gain) for facts, gain in gains if gain.estimate is not None]
    return sorted(known, key=lambda pair: -(pair[1].estimate or 0.0))


def _gain(relative: Interval) -> Interval:
    def minus(value: float | None) -> float | None:
        return None if value is None else -value

    return Interval(
        estimate=minus(relative.estimate), low=minus(relative.high), high=minus(relative.low)
    )
