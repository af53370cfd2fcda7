from collections.abc import Callable

import numpy as np
import pytest
import torch
from model_sizes import ACTIONS, DAY_MS, ITEMS, MEMORIES, START, TEXT

from recommender.config.model import ModelConfig
from recommender.features.sequences import Catalogue, Histories
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def module() -> Callable[..., UnifiedTransformer]:
    """Make a module whose every parameter is random, so that nothing is nought by chance."""

    def make(
        *, repeats: bool = True, known: np.ndarray | None = None, **config
    ) -> UnifiedTransformer:
        random = np.random.default_rng(1)
        known = np.ones(ITEMS, bool) if known is None else known
        made = UnifiedTransformer(
            ModelConfig(width=16, heads=2, layers=2, history=8).model_copy(update=config),
            ACTIONS,
            torch.from_numpy(random.normal(size=(ITEMS, TEXT)).astype(np.float32)),
            torch.from_numpy(known),
            torch.from_numpy(random.normal(size=(ITEMS, MEMORIES)).astype(np.float32)),
            repeats=repeats,
        )
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        return made.eval()

    return make


@pytest.fixture
def scorer(module) -> Callable[..., TransformerScorer]:
    """Put a random module behind the scorer."""

    def make(**config) -> TransformerScorer:
        ids = tuple(f"i{row}" for row in range(ITEMS))
        return TransformerScorer(module(**config), Catalogue(ids))

    return make


@pytest.fixture
def histories() -> Callable[..., Histories]:
    """Make histories of the given lengths, asked a day after their last event."""

    def make(*lengths: int, seed: int = 0) -> Histories:
        random = np.random.default_rng(seed)
        rows = []
        for length in lengths:
            times = START + np.sort(random.integers(0, 90 * DAY_MS, length))
            rows.append(
                (
                    random.integers(0, ITEMS, length).tolist(),
                    random.integers(1, ACTIONS + 1, length).tolist(),
                    times.tolist(),
                )
            )
        return Histories.of(rows, [START + 91 * DAY_MS] * len(lengths))

    return make
