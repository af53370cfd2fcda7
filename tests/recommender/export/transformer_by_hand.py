"""Trained-like modules of every kind, and histories that are hard for other runtimes."""

from __future__ import annotations

import numpy as np
import torch

from recommender.config.model import ModelConfig
from recommender.features.sequences import Catalogue, Histories
from recommender.model.transformer import UnifiedTransformer

ITEMS, ACTIONS, HISTORY, NOW = 37, 3, 12, 1_700_000_000_000
CATALOGUE = Catalogue(tuple(f"i{row}" for row in range(ITEMS)))


def module(repeats: bool = True, **change: object) -> UnifiedTransformer:
    """Return a module none of whose weights is nought, so that nothing can be left out unseen."""
    torch.manual_seed(3)
    shape = {"width": 16, "heads": 2, "layers": 2, "history": HISTORY, **change}
    made = UnifiedTransformer(
        ModelConfig(**shape),
        ACTIONS,
        torch.randn(ITEMS, 8),
        torch.rand(ITEMS) < 0.9,
        torch.randn(ITEMS, 4),
        repeats=repeats,
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


def histories(lengths: list[int], seed: int = 0, step: int | None = None) -> Histories:
    """Return histories with repeated items, gaps of all sizes and times of either sign."""
    rng = np.random.default_rng(seed)
    rows = []
    for length in lengths:
        # Powers of two less one second are where buckets begin.
        gaps = 1000 * (2 ** rng.integers(0, 27, length) - rng.integers(0, 2, length))
        gaps = np.full(length, step) if step is not None else gaps + rng.integers(0, 2, length)
        times = NOW - gaps[::-1].cumsum()[::-1]
        rows.append(
            (
                rng.integers(0, 6, length).tolist(),
                rng.integers(1, 4, length).tolist(),
                times.tolist(),
            )
        )
    return Histories.of(rows, [NOW + int(n) for n in rng.integers(0, 10**9, len(lengths))])
