"""What the exported entry points can't read is refused; what is short is read all the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformer_by_hand import ACTIONS, CATALOGUE, ITEMS, histories, module

from recommender.config.model import ModelConfig
from recommender.errors import ConfigError
from recommender.export.programs import HISTORY_INPUTS, LEAST_EVENTS, program
from recommender.export.state_scorer import StateScorer
from recommender.model.people import Attribute, PeopleCodes
from recommender.model.reads import Reads
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer

PEOPLE = PeopleCodes((Attribute("sex", ("f", "m"), ()),))


@pytest.mark.parametrize(
    ("reads", "setting"),
    [(Reads(people=PEOPLE), "model.user_attributes"), (Reads(surfaces=2), "model.surface")],
    ids=["people", "surfaces"],
)
def test_a_model_that_reads_who_asks_or_where_is_not_exported(reads: Reads, setting: str) -> None:
    made = UnifiedTransformer(
        ModelConfig(width=16, heads=2, layers=1, history=8),
        ACTIONS,
        torch.randn(ITEMS, 8),
        torch.ones(ITEMS),
        torch.randn(ITEMS, 4),
        repeats=True,
        reads=reads,
    )
    for entry in ("retrieve", "rank"):
        with pytest.raises(ConfigError, match=setting):
            program(made, entry)
    with pytest.raises(ConfigError, match=setting):
        StateScorer(made.eval(), CATALOGUE)


@pytest.mark.parametrize("history", [1, 3])
def test_histories_shorter_than_a_program_reads_have_absolute_places_too(history: int) -> None:
    scorer = TransformerScorer(module(position="absolute", history=history, layers=1), CATALOGUE)
    told = histories([history])
    exported = program(scorer.module, "retrieve").module()
    padding = np.zeros(LEAST_EVENTS - history, np.int64)
    columns = (told.items, told.actions, told.times)
    padded = [torch.tensor(np.append(column, padding).astype(np.int64))[None] for column in columns]
    rest = torch.tensor([history]), torch.tensor(told.now)
    with torch.inference_mode():
        scores_BI = exported(*padded, *rest)[1]
    assert len(HISTORY_INPUTS) == len(padded) + len(rest)
    np.testing.assert_allclose(scores_BI.numpy(), scorer.scores(told), atol=1e-5)
