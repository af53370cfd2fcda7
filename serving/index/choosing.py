"""Whether an index proposes items, and the queries that its recall is set by.

Shape letters: I items.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from recommender.config.compute import ComputeConfig
from recommender.features.sequences import Histories
from recommender.ranking import Ranked, rank
from recommender.scoring import Floats, Scorer

logger = logging.getLogger("ostinato.index")

_SAMPLE = 256
_EVENTS = 20
_DAY_MS = 86_400_000


def ranking_for(scorer: Scorer, config: ComputeConfig) -> Callable[..., Ranked]:
    """Return what puts the items of a catalogue in order.

    Args:
        scorer: as served.
        config: from how many items on an index is used, and how good it must be.
    """
    if scorer.kind != "transformer" or len(scorer.catalogue) < config.approximate_from:
        return rank
    from recommender.export.state_scorer import StateScorer
    from serving.index.approximate import ApproximateIndex
    from serving.index.retriever import Retriever

    if not isinstance(scorer, StateScorer):
        return rank
    items_IE = scorer.item_vectors()
    sample = scorer.retrieval(_sample(items_IE[:, -1]))
    index = ApproximateIndex(items_IE, sample.query_BE, config.recall)
    logger.info(
        "an index of %s items looks into %s of %s groups: recall %.4f",
        *(len(items_IE), index.probes, index.groups, index.recall),
    )
    return Retriever(scorer, index)


def _sample(base_I: Floats) -> Histories:
    """Return histories of popular items, a few days old: what people look at, without people."""
    rng = np.random.default_rng(0)
    weight_I = np.exp(base_I.astype(np.float64) - base_I.max())
    items = rng.choice(len(base_I), (_SAMPLE, _EVENTS), p=weight_I / weight_I.sum())
    lengths = rng.integers(1, _EVENTS + 1, _SAMPLE)
    now = 20_000 * _DAY_MS
    rows = []
    for mine, length in zip(items, lengths, strict=True):
        times = np.sort(now - rng.integers(1, 30 * _DAY_MS, length))
        rows.append((mine[:length].tolist(), [1] * int(length), times.tolist()))
    return Histories.of(rows, [now] * _SAMPLE)
