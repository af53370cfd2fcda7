"""The scorer: the same answer alone and in company, for anybody, before and after saving."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_sizes import DAY_MS, ITEMS, START

from recommender.artifact import Model
from recommender.config.actions import ActionsConfig
from recommender.features.sequences import Catalogue, Histories
from recommender.model.scorer import TransformerScorer


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=9), seed=st.integers(0, 99))
def test_a_history_scores_the_same_alone_and_in_any_batch(scorer, histories, lengths, seed):
    model = scorer()
    together = histories(*lengths, seed=seed)
    scores = model.scores(together)
    alone = np.concatenate([model.scores(one) for one in together.batches(1)])
    np.testing.assert_allclose(scores, alone, rtol=1e-4, atol=1e-4)


def test_an_empty_history_and_an_empty_batch_are_answered(scorer, histories):
    model = scorer()
    scores = model.scores(histories(0, 0))
    assert scores.shape == (2, ITEMS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert np.ptp(scores[0]) > 0
    np.testing.assert_array_equal(scores[0], scores[1])
    assert model.scores(histories()).shape == (0, ITEMS)


def test_only_the_most_recent_events_up_to_the_limit_are_read(scorer, histories):
    model = scorer()  # reads 8
    whole = histories(20)
    recent = Histories(
        whole.items[-8:],
        whole.actions[-8:],
        whole.times[-8:],
        whole.values[-8:],
        np.array([0, 8]),
        whole.now,
    )
    np.testing.assert_array_equal(model.scores(whole), model.scores(recent))
    one_less = Histories(
        whole.items[-7:],
        whole.actions[-7:],
        whole.times[-7:],
        whole.values[-7:],
        np.array([0, 7]),
        whole.now,
    )
    assert np.abs(model.scores(whole) - model.scores(one_less)).max() > 1e-4


def test_events_at_one_time_and_a_request_before_its_history_give_finite_scores(scorer):
    same = Histories.of([([1, 2, 3], [1, 1, 2], [START] * 3)], [START])
    before = Histories.of([([1, 2, 3], [1, 1, 2], [START] * 3)], [START - DAY_MS])
    for odd in (same, before):
        assert np.isfinite(scorer().scores(odd)).all()


def test_a_saved_model_scores_as_before_and_gives_the_same_bytes_again(scorer, histories, tmp_path):
    asked = histories(0, 3, 12)
    titles = tuple(f"item {row}" for row in range(ITEMS))
    model = Model(scorer(), titles, ActionsConfig(types=("a", "b", "c")), 8)
    for name in ("one", "two"):
        model.save(tmp_path / name)
    files = [sorted(path.iterdir()) for path in (tmp_path / "one", tmp_path / "two")]
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]
    loaded = Model.load(tmp_path / "one")
    np.testing.assert_array_equal(loaded.scorer.scores(asked), model.scorer.scores(asked))
    assert isinstance(loaded.scorer, TransformerScorer)


def test_a_model_without_repeats_and_time_is_restored_as_such(scorer, histories):
    model = scorer(repeats=False, time_bias=False, request_time=False)
    again = TransformerScorer.restore(model.settings(), model.weights(), model.catalogue)
    asked = histories(5, 0)
    np.testing.assert_array_equal(again.scores(asked), model.scores(asked))


def test_a_catalogue_of_another_size_is_refused(scorer):
    model = scorer()
    with pytest.raises(ValueError, match="23 rows for 2 items"):
        TransformerScorer.restore(model.settings(), model.weights(), Catalogue(("a", "b")))


def test_action_probabilities_sum_to_one_and_depend_on_user_and_item(scorer, histories):
    model = scorer()
    asked = histories(4, 0, 12)
    items = np.array([[1, 2], [1, 2], [3, 1]])
    found = model.action_probabilities(asked, items)
    assert found.shape == (3, 2, 3)
    np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-5)
    assert np.abs(found[0, 0] - found[1, 0]).max() > 1e-4
    assert np.abs(found[0, 0] - found[0, 1]).max() > 1e-4
    alone = model.action_probabilities(asked.slice(2, 3), items[2:])
    np.testing.assert_allclose(alone[0], found[2], rtol=1e-4)


def test_an_artifact_with_the_names_of_before_scores_as_it_did(scorer, histories):
    """A champion must outlive an upgrade: lookups were embeddings once, with rows for columns."""
    model = scorer()
    renamed = {
        name.replace("_HN", ".weight").replace("_1N", ".weight"): np.ascontiguousarray(array.T)
        if name.endswith(("_HN", "_1N"))
        else array
        for name, array in model.weights().items()
    }
    assert renamed.keys() != model.weights().keys()
    again = TransformerScorer.restore(model.settings(), renamed, model.catalogue)
    asked = histories(0, 3, 12)
    np.testing.assert_array_equal(again.scores(asked), model.scores(asked))


def test_a_restored_model_may_hide_ids_from_its_tower_alone(scorer, histories):
    model = scorer()
    weights = model.weights()
    weights["tower.known_I"] = np.zeros_like(weights["tower.known_I"])
    hidden = TransformerScorer.restore(model.settings(), weights, model.catalogue)
    tower, popularity = hidden.module.tower.known_I, hidden.module.popularity.known_I
    assert tower.data_ptr() != popularity.data_ptr()
    assert not tower.any()
    assert popularity.all()
    history = histories(6)
    assert np.abs(hidden.scores(history) - model.scores(history)).max() > 1e-3
