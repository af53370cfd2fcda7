"""Adapters: nothing at first, the same merged or not, and files that `peft` itself loads."""

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.config.ranking import RankingConfig
from recommender.errors import ArtifactError
from recommender.model import adapters
from recommender.model.adapters import LowRank, Shape
from recommender.model.heads import Contexts
from recommender.model.padded import Padded, tensor
from recommender.model.scorer import TransformerScorer

SHAPE = Shape(rank=3, alpha=6.0)
WHOLE = ("tower", "popularity", "action.target.own_ID")


@pytest.fixture
def base(module, request):
    head = getattr(request, "param", "plain")
    return module(ranking=RankingConfig(head=head))


both_heads = pytest.mark.parametrize("base", ["plain", "target"], indirect=True)


@pytest.fixture
def adapted(base):
    """A module whose adapters, and whose item tower, say something."""
    made = copy.deepcopy(base)
    adapters.adapt(made, SHAPE)
    torch.manual_seed(3)
    with torch.no_grad():
        for adapter in adapters.adapters(made).values():
            adapter.b_DR.normal_(std=0.2)
        made.tower.id_ID.add_(0.1 * torch.randn_like(made.tower.id_ID))
        made.popularity.rest_I.add_(0.1)
        if made.action.target is not None:
            made.action.target.own_ID.add_(0.5)
    return made


def answers(scorer, module, asked):
    """Scores of the catalogue, and chances of each event type of each item, side by side."""
    told = TransformerScorer(module, scorer().catalogue)
    items = np.tile(np.arange(len(told.catalogue)), (len(asked), 1))
    chances = told.action_probabilities(asked, items).reshape(len(asked), -1)
    return np.concatenate([told.scores(asked), chances], axis=1)


def test_fresh_adapters_change_nothing_and_are_all_that_learns(base, scorer, histories):
    before = answers(scorer, base, histories(0, 3, 8))
    adapters.adapt(base, SHAPE)
    assert np.array_equal(answers(scorer, base, histories(0, 3, 8)), before)
    learning = [name for name, p in base.named_parameters() if p.requires_grad]
    assert len(learning) == 2 * len(adapters.adapters(base)) > 0
    assert all(name.endswith(("a_RK", "b_DR")) for name in learning)


def test_gradients_reach_every_adapter_in_training_too(base, histories):
    adapters.adapt(base, SHAPE)
    base.train()
    asked = histories(5, 8)
    padded = Padded.cut(asked, asked.offsets[:-1], asked.lengths)
    contexts = Contexts(torch.arange(2), tensor(asked.lengths), tensor(asked.now))
    items = base.item_vectors()
    judged = base.judged(items, padded, contexts, torch.zeros(2, 1, dtype=torch.int64))
    judged.logits.square().sum().backward()
    for name, adapter in adapters.adapters(base).items():
        assert adapter.b_DR.grad is not None, name
        assert adapter.b_DR.grad.abs().sum() > 0, name


def test_merged_answers_as_unmerged(base, adapted, scorer, histories):
    asked = histories(0, 1, 4, 8)
    unmerged = answers(scorer, adapted, asked)
    assert np.abs(answers(scorer, base, asked) - unmerged).max() > 0.1
    base.load_state_dict(adapters.merged(adapted))
    assert np.abs(answers(scorer, base, asked) - unmerged).max() <= 1e-5
    assert adapters.adapters(adapted)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.floats(0.1, 4))
def test_an_adapted_weight_is_the_sum_that_the_paper_states(outputs, inputs, rank, scale):
    adapter = LowRank(outputs, inputs, rank, scale)
    weight, x = torch.randn(outputs, inputs), torch.randn(5, inputs)
    with torch.no_grad():
        adapter.b_DR.normal_()
        apart = x @ weight.T + scale * (x @ adapter.a_RK.T) @ adapter.b_DR.T
        assert torch.allclose(x @ adapter(weight).T, apart, atol=1e-4)


@both_heads
@pytest.mark.filterwarnings("ignore")
def test_peft_itself_loads_the_files_and_answers_the_same(
    base, adapted, scorer, histories, tmp_path
):
    from peft import PeftModel

    adapters.write(adapted, tmp_path / "adapter", SHAPE, "m-0123456789ab", WHOLE)
    loaded = PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path / "adapter"))
    asked = histories(0, 1, 4, 8)
    ours = answers(scorer, adapted, asked)
    assert np.abs(answers(scorer, base, asked) - ours).max() > 0.1
    by_peft = answers(scorer, loaded.base_model.model, asked)
    assert np.abs(by_peft - ours).max() <= 1e-5
    merged = answers(scorer, loaded.merge_and_unload(), asked)
    assert np.abs(merged - ours).max() <= 1e-5


@both_heads
def test_what_was_written_is_read_back_to_the_same_answers(
    base, adapted, scorer, histories, tmp_path
):
    adapters.write(adapted, tmp_path / "adapter", SHAPE, "m-0123456789ab", WHOLE)
    assert adapters.read(base, tmp_path / "adapter") == "m-0123456789ab"
    asked = histories(2, 7)
    assert np.array_equal(answers(scorer, base, asked), answers(scorer, adapted, asked))


@pytest.mark.filterwarnings("ignore")
def test_what_peft_wrote_is_read_too(base, scorer, histories, tmp_path):
    from peft import LoraConfig, PeftModel
    from peft.tuners.lora import LoraModel

    config = LoraConfig(r=2, lora_alpha=4, target_modules=["blocks.0.qkv"], bias="none")
    theirs = PeftModel(copy.deepcopy(base), config)
    assert isinstance(theirs.base_model, LoraModel)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    theirs.save_pretrained(str(tmp_path / "adapter"))
    asked = histories(3, 8)
    told = answers(scorer, theirs.base_model.model, asked)
    assert np.abs(told - answers(scorer, base, asked)).max() > 1e-3
    adapters.read(base, tmp_path / "adapter")
    assert np.abs(answers(scorer, base, asked) - told).max() <= 1e-5


def test_adapters_of_another_shape_or_damaged_ones_are_refused(module, adapted, tmp_path):
    folder = tmp_path / "adapter"
    adapters.write(adapted, folder, SHAPE, "m-0123456789ab", ())
    with pytest.raises(ArtifactError, match="don't fit this model"):
        adapters.read(module(width=32), folder)
    described = json.loads((folder / adapters.CONFIG).read_text())
    (folder / adapters.CONFIG).write_text(json.dumps(described | {"target_modules": ["nowhere"]}))
    with pytest.raises(ArtifactError, match="don't fit this model"):
        adapters.read(module(), folder)
    (folder / adapters.WEIGHTS).write_bytes(b"\x01")
    with pytest.raises(ArtifactError, match="no readable adapters"):
        adapters.read(module(), folder)
