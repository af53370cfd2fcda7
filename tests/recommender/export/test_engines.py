"""Which engine computes: what config asks for and what the model brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformer_by_hand import CATALOGUE

from recommender.baselines.popularity import Popularity
from recommender.config.compute import ComputeConfig
from recommender.errors import ArtifactError
from recommender.export.engines import engine_for
from recommender.export.onnx_scorer import kept_reads
from recommender.export.state_scorer import StateScorer
from recommender.model.scorer import TransformerScorer


@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_a_model_without_onnx_files_is_computed_eagerly(
    whole: TransformerScorer, tmp_path: Path, engine: str
) -> None:
    made = engine_for(whole, tmp_path, ComputeConfig(engine=engine, keys_values=True))
    assert isinstance(made, StateScorer)
    assert made.states.keys_values
    assert made.weights().keys() == whole.weights().keys()


def test_onnx_that_is_asked_for_and_missing_says_what_to_do(
    whole: TransformerScorer, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match="brings no ONNX files") as error:
        engine_for(whole, tmp_path, ComputeConfig(engine="onnx"))
    assert "serving.compute.export" in error.value.hint


def test_other_models_have_only_themselves(tmp_path: Path) -> None:
    popular = Popularity(CATALOGUE, np.arange(len(CATALOGUE)).astype(np.float32))
    assert engine_for(popular, tmp_path, ComputeConfig(engine="onnx")) is popular


def test_what_onnx_keeps_of_histories_is_bounded_by_bytes_and_the_oldest_goes_first() -> None:
    # One history's answers of a target head: 201 states of 2 x 96 numbers, 154 kB.
    read = (np.zeros(96, np.float32), np.zeros((201, 192), np.float32))
    kept = kept_reads(1.0)
    for name in range(1000):
        kept.keep(b"%d" % name, read)
        assert kept.size <= 2**20
        assert kept.find(b"0") is read  # asked for all the while
    assert len(kept) == 6
    assert kept.find(b"999") is read
    assert kept.find(b"990") is None
    size = kept.size
    kept.keep(b"999", read)
    assert kept.size == size
    nothing = kept_reads(0)
    nothing.keep(b"0", read)
    assert (len(nothing), nothing.size, nothing.find(b"0")) == (0, 0, None)
