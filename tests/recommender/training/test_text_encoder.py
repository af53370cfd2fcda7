"""The text encoder learns from what people take one after the other, and stays an encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoder import tiny_encoder
from tiny_world import log_of

from recommender.config.actions import ActionsConfig
from recommender.config.text import TextConfig
from recommender.config.text_tuning import TextTuning
from recommender.errors import FeatureError, TrainingError
from recommender.features.text import encode_texts
from recommender.training.text_encoder import ADAPTER, _contrast, neighbours, tune

VIEWS = ActionsConfig(types=("view",))
DAY = 86_400_000
# People take scarves after hats and shirts after cotton; no word is shared.
TEXTS = ["red hat", "winter scarf", "blue hat", "wool scarf", "green cotton", "shirt", "", "cotton"]
PAIRS = np.array([[0, 1], [2, 3], [2, 1], [0, 3], [4, 5], [7, 5]] * 3)


def test_neighbours_are_different_items_of_one_person_near_in_time_before_the_cut():
    rows = [
        ("u", "a", "view", 0),
        ("u", "a", "view", 5),
        ("u", "b", "view", 9),
        ("u", "c", "view", 9 + 2 * DAY),
        ("v", "c", "view", 10),
        ("v", "a", "view", 11),
        ("v", "b", "view", 12),
    ]
    log = log_of(rows, VIEWS, "abc")
    assert neighbours(log, 12).tolist() == [[0, 1], [2, 0]]
    assert neighbours(log, 9 + 3 * DAY, 3 * DAY).tolist() == [[0, 1], [1, 2], [2, 0], [0, 1]]


def test_partners_of_one_item_are_no_negatives_of_each_other():
    chosen = np.array([[0, 1], [0, 2], [3, 4]])
    vectors = torch.eye(3)
    far = _contrast(vectors, vectors, chosen, 1.0)
    # The first two share an item: each has one negative, the third has two.
    one, two = np.log1p(np.exp(-1)), np.log1p(2 * np.exp(-1))
    assert float(far) == pytest.approx((2 * one + two) / 3)


def test_in_a_chain_no_item_is_a_negative_of_its_own():
    # (0, 1) and (1, 2): item 1, asked for its partner 2, is the right one of the other pair.
    items = torch.tensor([[1.0, 0, 0], [0.6, 0.8, 0], [0, 1.0, 0]])
    chain = np.array([[0, 1], [1, 2]])
    found = _contrast(items[chain[:, 0]], items[chain[:, 1]], chain, 0.05)
    # Four questions, two of them without a negative. The others: item 0 finds its partner (.6)
    # against item 2 (0), item 2 its own (.8) against item 0 (0).
    logits = torch.tensor([[0.6, 0.0], [0.8, 0.0]]) / 0.05
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 0]), reduction="sum") / 4
    assert torch.isclose(found, expected, atol=1e-6)
    assert found < 1e-4


@pytest.mark.slow
def test_a_tuned_encoder_knows_what_goes_together_and_is_read_like_any_other(tmp_path: Path):
    base = tmp_path / "base"
    encoder = TextConfig(encoder=str(base), revision=tiny_encoder(base), threads=1)
    settings = TextTuning(rank=4, steps=60, batch_size=4, learning_rate=1e-2)
    made = tune(encoder, settings, TEXTS, PAIRS, tmp_path / "tuned", tmp_path, seed=1)
    assert made.last_loss < 0.7 * made.first_loss
    assert made.pairs == len(PAIRS)
    tuned = TextConfig(encoder=str(tmp_path / "tuned"), revision=made.revision, threads=1)
    near = []
    for which in (encoder, tuned):
        vectors = encode_texts(TEXTS, which, tmp_path / "cache", label="test").vectors
        together = np.mean([vectors[a] @ vectors[b] for a, b in PAIRS[:6]])
        apart = np.mean([vectors[a] @ vectors[b] for a, b in [(0, 5), (2, 5), (4, 1), (7, 3)]])
        near.append(together - apart)
    assert near[1] > near[0] + 0.1
    adapter = tmp_path / "tuned" / ADAPTER
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 4
    assert (adapter / "adapter_model.safetensors").exists()
    again = tune(encoder, settings, TEXTS, PAIRS, tmp_path / "again", tmp_path, seed=1)
    assert again.last_loss == made.last_loss
    with pytest.raises(FeatureError, match="there already"):
        tune(encoder, settings, TEXTS, PAIRS, tmp_path / "tuned", tmp_path, seed=1)
    with pytest.raises(TrainingError, match="only 0 pairs"):
        tune(encoder, settings, TEXTS, np.array([[0, 6]]), tmp_path / "none", tmp_path, seed=1)
