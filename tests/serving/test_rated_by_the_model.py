"""The Transformer's expected values through the ranker: the same whichever engine computes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tables_by_hand import configuration

from recommender.artifact import Model
from recommender.config.compute import ComputeConfig
from recommender.config.model import ModelConfig
from recommender.config.ranking import RankingConfig, ValueConfig
from recommender.export import onnx_files
from recommender.export.engines import engine_for
from recommender.features.sequences import Catalogue
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from serving.ask import Ask, Events
from serving.ranking import Found, Ranker

ITEMS = tuple(f"i{number:02}" for number in range(12))
RATING = ValueConfig(name="rating", events=("purchase",), low=1, high=5)


def rated(config) -> Model:
    torch.manual_seed(4)
    shape = ModelConfig(
        width=16,
        layers=1,
        heads=2,
        history=8,
        text_width=4,
        ranking=RankingConfig(values=(RATING,)),
    )
    types = config.actions.types
    module = UnifiedTransformer(
        shape,
        len(types),
        torch.randn(12, 4),
        torch.ones(12, dtype=torch.bool),
        torch.rand(12, 2),
        repeats=True,
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    assert module.action.values is not None
    module.action.values.measure(types, torch.tensor([[1.0], [3.0], [5.0]]))
    return Model(TransformerScorer(module, Catalogue(ITEMS)), ITEMS, config.actions, 8)


@pytest.mark.parametrize("engine", ["eager", pytest.param("onnx", marks=pytest.mark.slow)])
def test_ratings_are_those_of_the_module(tmp_path: Path, engine: str) -> None:
    config = configuration(tmp_path / "state")
    made = rated(config)
    folder = tmp_path / "model"
    made.save(folder)
    if engine == "onnx":
        onnx_files.write(made.scorer.module, folder)
    model = Model.load(folder)
    asks = [Ask(history=[], k=6, time=99), Ask(user_id="ann", k=6, time=99)]
    events = Events(["i03", "i05"], ["click", "purchase"], [10, 20], [float("nan"), 4.0])
    found = [Found(), Found(events)]
    plain = Ranker(model)
    assert plain.valued == ("purchase",)
    served = engine_for(model.scorer, folder, ComputeConfig(engine=engine))
    assert type(served) is not type(model.scorer)
    ours = Ranker(Model(served, model.titles, model.actions, 8)).answer(asks, found)
    for one, other in zip(ours, plain.answer(asks, found), strict=True):
        assert one.items == other.items
        assert one.values is not None
        assert list(one.values) == ["purchase"]
        np.testing.assert_allclose(one.values["purchase"], other.values["purchase"], rtol=1e-4)
        assert all(1 <= value <= 5 for value in one.values["purchase"])
    assert ours[0].values != ours[1].values
