"""Text rivals that start from a checkpoint: its words, its weights, frozen or not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rival_worlds import HOUR, LIKED, asked_in_ring, config_of, groups, ring
from safetensors.torch import load_file
from tiny_language_model import tiny_language_model

from recommender.artifact import Model
from recommender.baselines.neural.language_model import FIRST, MARK, LanguageModel, events_of
from recommender.baselines.neural.sequences import Sequences
from recommender.baselines.rivals import fit
from recommender.config import Config
from recommender.config.neural_rivals import LanguageModelConfig
from recommender.errors import ConfigError, FeatureError
from recommender.features.sequences import Histories

ITEMS = 8
WORDS = [f"i{number:02}" for number in range(30)]
KINDS = ["gpt", "bert"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    found = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp("checkpoints") / kind
        found[kind] = (folder, tiny_language_model(folder, kind, WORDS))
    return found


def starting(folder: Path, revision: str, **settings: Any) -> dict[str, Any]:
    return {"encoder": str(folder), "revision": revision, "title_tokens": 2, **settings}


def config_for(kind: str, started: dict[str, Any], **neural: Any) -> Config:
    quick = {"learning_rate": 1e-2, "tokens_per_batch": 64, **neural}
    return config_of(**{f"behaviour_{kind}": started}, **quick)


def fitted(kind: str, config: Config) -> Model:
    world = ring(items=ITEMS, length=6)
    return fit(f"behaviour-{kind}", world, world.folds[0], config)


@pytest.fixture(scope="module", params=KINDS)
def trained(request, folders, tmp_path_factory) -> tuple[str, Model, dict[str, Any]]:
    folder, revision = folders[request.param]
    # Reading both ways, a pass answers for one moment alone: it takes more of them.
    epochs = {"gpt": 15, "bert": 50}[request.param]
    config = config_for(request.param, starting(folder, revision), epochs=epochs)
    config = config.model_copy(update={"workspace": tmp_path_factory.mktemp("state")})
    return request.param, fitted(request.param, config), load_file(folder / "model.safetensors")


def test_it_starts_from_the_checkpoint_and_learns_what_follows(trained) -> None:
    _, model, _ = trained
    histories, following = asked_in_ring(ITEMS, 5)
    found = model.scorer.scores(histories).argmax(axis=1)
    assert (found == following).mean() > 0.8


def test_what_comes_after_a_moment_is_not_read(trained) -> None:
    _, model, _ = trained
    rows = [([1, 2, *later], [LIKED] * 4, [HOUR] * 4) for later in ([3, 4], [7, 0])]
    both = Histories.of(rows, [9 * HOUR] * 2)
    sequences = Sequences.cut(both, both.offsets[:-1], both.lengths, ITEMS)
    with torch.inference_mode():
        first, second = model.scorer.module.read(sequences, torch.tensor([2, 2]))[:, 2]
    torch.testing.assert_close(first, second)


def test_it_is_read_again_where_the_checkpoint_never_was(trained, folders, tmp_path: Path) -> None:
    kind, model, _ = trained
    model.save(tmp_path / "model")
    assert str(folders[kind][0]) not in (tmp_path / "model" / "model.json").read_text()
    again = Model.load(tmp_path / "model").scorer
    histories, _ = asked_in_ring(ITEMS, 5)
    np.testing.assert_allclose(again.scores(histories), model.scorer.scores(histories), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_weights_stay_as_they_are_and_are_not_counted(kind, folders, tmp_path: Path) -> None:
    folder, revision = folders[kind]
    scorers = {}
    for frozen in (True, False):
        config = config_for(kind, starting(folder, revision, frozen=frozen), epochs=1)
        scorers[frozen] = fitted(kind, config.model_copy(update={"workspace": tmp_path})).scorer
    given = load_file(folder / "model.safetensors")
    for frozen, scorer in scorers.items():
        kept = {
            name: torch.equal(value, given[original])
            for name, value in scorer.module.body.state_dict().items()
            for original in (f"transformer.{name}", f"bert.{name}", name)
            if original in given
        }
        assert len(kept) > 8
        assert all(kept.values()) is frozen
    body = sum(each.numel() for each in scorers[True].module.body.parameters())
    assert scorers[False].parameters - scorers[True].parameters == body


@pytest.mark.parametrize(("kind", "other"), [("gpt", "bert"), ("bert", "gpt")])
def test_a_network_of_the_other_kind_is_refused(kind, other, folders, tmp_path: Path) -> None:
    folder, revision = folders[other]
    config = config_for(kind, starting(folder, revision)).model_copy(update={"workspace": tmp_path})
    with pytest.raises(ConfigError, match="words behind them") as caught:
        fitted(kind, config)
    assert other in str(caught.value)
    assert "behaviour_gpt" in str(caught.value.hint)


def test_a_missing_changed_or_broken_folder_is_named(folders, tmp_path: Path) -> None:
    gone = LanguageModelConfig(encoder=str(tmp_path / "gone"), revision="0" * 64)
    with pytest.raises(FeatureError, match="is not a folder"):
        LanguageModel.pretrained(gone, tmp_path, causal=True)
    folder, revision = folders["gpt"]
    changed = LanguageModelConfig(encoder=str(folder), revision="0" * 64)
    with pytest.raises(FeatureError, match="not what it is pinned to"):
        events_of(changed, tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "config.json").write_text('{"model_type": "no-such-model"}')
    from recommender.features.encoder_folder import folder_hash

    pinned = LanguageModelConfig(encoder=str(broken), revision=folder_hash(broken))
    for read in (events_of, lambda *asked: LanguageModel.pretrained(*asked, causal=True)):
        with pytest.raises(FeatureError, match="can't be loaded"):
            read(pinned, tmp_path)
    assert revision != pinned.revision


def test_an_unpinned_checkpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="pin"):
        LanguageModelConfig(encoder="some/model")


def test_no_more_events_are_read_than_there_are_places_for(tmp_path: Path) -> None:
    folder = tmp_path / "short"
    revision = tiny_language_model(folder, "gpt", WORDS, places=13)
    started = starting(folder, revision)
    assert events_of(LanguageModelConfig(**started), tmp_path) == 4
    config = config_for("gpt", started, epochs=1).model_copy(update={"workspace": tmp_path})
    model = fitted("gpt", config)
    assert (model.history, model.scorer.module.history) == (4, 4)
    long, _ = asked_in_ring(ITEMS, 8)
    assert np.isfinite(model.scorer.scores(long)).all()
    with pytest.raises(ConfigError, match="13 places"):
        events_of(LanguageModelConfig(**{**started, "title_tokens": 12}), tmp_path)


def test_titles_are_the_checkpoints_own_words_and_a_mark(folders, tmp_path: Path) -> None:
    folder, revision = folders["bert"]
    started = LanguageModelConfig(**starting(folder, revision))
    model = LanguageModel.pretrained(started, tmp_path, causal=False)
    told = model.words_of(["i03", "i03 i04 i05", ""])
    first = FIRST + 5  # behind the five special tokens
    assert told.tolist() == [
        [first + 3, 0, MARK],
        [first + 3, first + 4, MARK],
        [0, 0, MARK],
    ]


def test_frozen_text_comes_from_the_encoder_that_is_named(folders, tmp_path: Path) -> None:
    # A causal language model by itself: the mean of its states, by sentence-transformers.
    folder, revision = folders["gpt"]
    world = groups()
    blind = replace(world, text=np.zeros_like(world.text))
    named = {"encoder": str(folder), "revision": revision, "threads": 1}
    config = config_of(frozen_text=named, epochs=2).model_copy(update={"workspace": tmp_path})
    model = fit("frozen-text-factorisation", blind, blind.folds[0], config)
    items = model.scorer.weights()["items"]
    assert np.linalg.matrix_rank(items) > 1
    # Without it, texts that say nothing make items that are all alike.
    plain = fit("frozen-text-factorisation", blind, blind.folds[0], config_of(epochs=2))
    assert not plain.scorer.weights()["items"].any()
