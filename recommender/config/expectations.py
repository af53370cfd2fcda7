"""What is expected of features before they are published."""

from __future__ import annotations

from pydantic import Field

from recommender.config.quality import AtMost
from recommender.config.section import Section


class FeatureDriftLimits(Section):
    """How far the features may stray from those of the last accepted run.

    A figure is judged only where both sides have `minimum_rows` rows: with fewer, chance alone
    moves it. It is on the report all the same.
    """

    compare: bool = True
    """Whether they are compared at all; switch off for one run after a change that is meant."""

    minimum_rows: int = Field(200, ge=1)
    """Rows that either side must have. With fewer, the index below is large by chance alone:
    under no change at all it is about (bins − 1) · (1 / rows then + 1 / rows now)."""

    psi: AtMost = AtMost(warn=0.25, fail=2.0)
    """Population stability index of a figure (a history's length, a vector's likeness to the mean
    …) over the bins of the last run. 0.1 is little, 0.25 is a change, 2 is another world."""

    recency: AtMost = AtMost(warn=0.5, fail=None)
    """The same index for figures that move with the clock: how long ago, and how much within a
    window. A quiet weekend changes them for everybody, and nothing is wrong."""

    trend: AtMost = AtMost(warn=None, fail=None)
    """The same index for the figures of `item_trend`; by default it is only shown. A smoothed level
    fades by one factor for every item that nobody took, so many items move from bin to bin together
    each day. Whether trends are right, backtests tell."""

    missing: AtMost = AtMost(warn=0.1, fail=0.5)
    """Change of a column's share of missing values, in either direction."""

    rows: AtMost = AtMost(warn=0.3, fail=None)
    """Change of a view's number of rows, as a share of the last run's. The log's own size is
    judged by `quality.drift`, before there are features."""


class ExpectationsConfig(Section):
    """What is expected of features, row by row and as distributions."""

    bins: int = Field(10, ge=2, le=100)
    """Bins of a figure's distribution, with about equally many rows each."""

    examples: int = Field(3, ge=1, le=20)
    """Examples given of what broke an expectation; users by their pseudonyms."""

    norm_tolerance: float = Field(1e-3, gt=0, lt=1)
    """How far a text vector's length may be from 1. All zeros (there is no text) is allowed."""

    without_text: AtMost = AtMost(warn=0.2, fail=None)
    """Share of the items without a text vector."""

    same_text: AtMost = AtMost(warn=0.5, fail=None)
    """Share of the items whose text another item has too: their vectors can't tell them apart."""

    single_event: AtMost = AtMost(warn=0.9, fail=None)
    """Share of the histories that hold one event only."""

    drift: FeatureDriftLimits = FeatureDriftLimits()
    """How far from the last accepted run."""
