"""One module for all tests of other ways to compute it."""

from __future__ import annotations

import pytest
from transformer_by_hand import CATALOGUE, module

from recommender.model.scorer import TransformerScorer


@pytest.fixture(scope="session")
def whole() -> TransformerScorer:
    """The model as training left it."""
    return TransformerScorer(module(), CATALOGUE)
