"""What is measured, and what a candidate must show to pass."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recommender.config.neural_rivals import NeuralRivalsConfig
from recommender.config.off_policy import OffPolicyConfig
from recommender.config.section import Section
from recommender.config.slices import SlicesConfig

PRIMARY = "ndcg@10"
"""The metric that the gate reads."""

Rival = Literal[
    "popularity",
    "recent-popularity",
    "trend-popularity",
    "ar-popularity",
    "ma-popularity",
    "arma-popularity",
    "sarima-popularity",
    "item-knn",
    "history-text",
    "behaviour-text",
    "matrix-factorisation",
    "matrix-factorisation-text",
    "frozen-text-factorisation",
    "feed-forward",
    "gru4rec",
    "lstm",
    "two-tower",
    "encoder-decoder",
    "bert4rec",
    "sasrec",
    "sasrec-softmax",
    "behaviour-gpt",
    "behaviour-bert",
    "din",
    "xdeepfm",
]
"""`trend-popularity` ranks by forecast demand (`features.trends`), `ar-popularity` and its like by
one method each, for categories and for the items of the head. Two rank by text alone:
`history-text` by the mean vector of the history, `behaviour-text` by a sentence about it
(`features.text.behaviour_events`), which is encoded for every request. From `matrix-factorisation`
on they are networks that are trained for each fold (`evaluation.neural`). `behaviour-gpt` and
`behaviour-bert` read the words of the history's titles. `din` and `xdeepfm` rank
what was put in front of people; as rankings of a whole catalogue they mean little."""


class ItemKNNConfig(Section):
    """Item-to-item co-occurrence, the rival that knows the user's history."""

    neighbours: int = Field(200, ge=1)
    """Most similar items kept per item; bounds memory."""

    shrinkage: float = Field(10.0, ge=0)
    """Added to the cosine's denominator, so that pairs seen once or twice count for little."""

    half_life: float | None = Field(10.0, gt=0)
    """Events after which a past event weighs half as much; null: all weigh the same."""


class BacktestConfig(Section):
    """The rolling-origin backtest of the forecasts of demand (see `features.trends`)."""

    origins: int = Field(4, ge=1, le=50)
    """Moments from which forecasts are made, one horizon apart; the last one horizon before the
    end of the log. A short log gets fewer, but at least two."""

    items: int = Field(20, ge=1)
    """Items that are forecast: those with demand enough for a model, evenly spread from the most
    to the least popular of them. Likelihood models cost about 0.1 s of CPU each."""

    categories: int = Field(12, ge=1)
    """Categories that are forecast, chosen likewise."""


class GateConfig(Section):
    """What a candidate must show. Every comparison is a paired bootstrap over users of NDCG@10."""

    minimum_users: int = Field(500, ge=2)
    """With fewer test users the verdict is `insufficient`, never a pass."""

    must_beat: tuple[Rival, ...] = ("popularity", "recent-popularity")
    """Rivals that the candidate must be better than: the lower end of the interval of the
    difference must be above `minimum_gain`."""

    minimum_gain: float = Field(0.0, ge=0)
    """How much better (NDCG@10, absolute) than the rivals of `must_beat`."""

    must_match: tuple[Rival, ...] = ("item-knn",)
    """Rivals that the candidate may not be worse than (non-inferiority): the lower end of the
    interval of the relative difference must be above minus `match_margin`."""

    match_margin: float = Field(0.02, ge=0, lt=1)
    """The share by which the candidate may be worse than the rivals of `must_match`."""

    champion_margin: float = Field(0.02, ge=0, lt=1)
    """The share by which the candidate may be worse than the champion (non-inferiority)."""

    implausible_ndcg: float = Field(0.9, gt=0, le=1)
    """An NDCG@10 above this is taken as a leak, and fails."""

    floor_ndcg: float = Field(0.0, ge=0, lt=1)
    """The lower end of the candidate's NDCG@10 must be at least this, whatever the rivals do."""

    slices: bool = True
    """Whether a group of `evaluation.slices` that is served worse by more than its tolerance
    fails the candidate."""

    maximum_calibration_error: float | None = Field(0.15, gt=0, le=1)
    """Largest expected calibration error of an action head; null: not judged."""

    fairness: bool = False
    """Whether a gap between groups, or a provider's exposure, out of tolerance fails the
    candidate; it is always reported."""

    maximum_mb: float | None = Field(None, gt=0)
    """Largest size of the weights, megabytes; null: not judged."""

    maximum_ms: float | None = Field(None, gt=0)
    """Longest median time for one request, milliseconds, where the evaluation runs; null: not
    judged."""


class EvaluationConfig(Section):
    """What is measured."""

    k: tuple[int, ...] = (5, 10, 20)
    """Cut-offs of the ranking metrics; 10 must be among them (the gate reads it)."""

    requests_per_user: int = Field(10, ge=1)
    """At most this many requests of one user and fold are scored: the earliest in the test
    window at which the user took something."""

    rivals: tuple[Rival, ...] = (
        "popularity",
        "recent-popularity",
        "trend-popularity",
        "item-knn",
    )
    """Baselines fitted at each fold's cut and scored on the same requests."""

    item_knn: ItemKNNConfig = ItemKNNConfig()
    """Settings of the rival `item-knn`."""

    neural: NeuralRivalsConfig = NeuralRivalsConfig()
    """Settings of the rivals that are neural networks."""

    backtest: BacktestConfig | None = BacktestConfig()
    """How the forecasts of demand are judged; null: they aren't. Reported, never gated."""

    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples."""

    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Level of the intervals."""

    block_mb: int = Field(128, ge=1)
    """Memory for one block of scores; bounds the step's memory whatever the catalogue's size."""

    head_cases: int = Field(50_000, ge=100)
    """Events of the test window on which the action head is judged, at most."""

    slices: SlicesConfig = SlicesConfig()
    """By what people and items are grouped, and how far groups may lie apart."""

    off_policy: OffPolicyConfig = OffPolicyConfig()
    """When a log may speak about another policy."""

    gate: GateConfig = GateConfig()
    """What a candidate must show."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if 10 not in self.k or any(k < 1 for k in self.k):
            raise ValueError(f"k must be positive and hold 10, which the gate reads: {self.k}")
        if len(set(self.k)) != len(self.k) or len(set(self.rivals)) != len(self.rivals):
            raise ValueError("k or rivals names one twice")
        unfitted = {*self.gate.must_beat, *self.gate.must_match} - set(self.rivals)
        if unfitted:
            raise ValueError(f"gate names {sorted(unfitted)}, not among rivals")
        return self
