"""The rivals that find the next item: a planted order, windows without a future, losses by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rival_worlds import (
    HOUR,
    LIKED,
    SHOWN,
    asked_in_ring,
    config_of,
    dataset_of,
    groups,
    ring,
    with_window,
)

from recommender.artifact import Model
from recommender.baselines.neural.losses import Softmax, pair_loss
from recommender.baselines.neural.person import running_means
from recommender.baselines.neural.sequences import PEOPLE, Moments, Sequences, Windows
from recommender.baselines.neural.validation import validation_of
from recommender.baselines.rivals import fit
from recommender.config.evaluation import Rival
from recommender.config.neural_rivals import NeuralRivalsConfig
from recommender.features.sequences import Histories
from recommender.scoring import mask_seen, top_k

IN_ORDER: tuple[Rival, ...] = (
    "gru4rec",
    "bert4rec",
    "encoder-decoder",
    "sasrec",
    "sasrec-softmax",
    "two-tower",
    "feed-forward",
)
"""Those that tell what follows from the order of a history, if only from its last event."""

SLOW_TO_LEARN = {
    "bert4rec": {"epochs": 45, "learning_rate": 1e-2},
    "feed-forward": {"epochs": 20},
    "two-tower": {"epochs": 20},
}

BY_ID: tuple[Rival, ...] = ("gru4rec", "bert4rec", "encoder-decoder", "sasrec", "sasrec-softmax")
"""Those of them that read nothing of items but their ids."""


@pytest.fixture(scope="module", params=[*IN_ORDER, pytest.param("lstm", marks=pytest.mark.slow)])
def rival(request: pytest.FixtureRequest) -> Model:
    dataset = ring()
    config = config_of(tokens_per_batch=128, **SLOW_TO_LEARN.get(request.param, {}))
    return fit(request.param, dataset, dataset.folds[0], config)


def test_what_follows_in_a_planted_order_is_found(rival: Model) -> None:
    histories, follows = asked_in_ring()
    scores = rival.scorer.scores(histories)
    mask_seen(scores, histories)
    best, _ = top_k(scores, 1)
    assert (best[:, 0] == follows).mean() > 0.8


def test_people_without_history_and_with_more_than_is_read_are_answered(rival: Model) -> None:
    long = [step % 12 for step in range(30)]
    rows = [([], [], []), (long, [LIKED] * 30, [step * HOUR for step in range(30)])]
    recent = (long[-8:], [LIKED] * 8, [step * HOUR for step in range(22, 30)])
    scores = rival.scorer.scores(Histories.of([*rows, recent], [40 * HOUR] * 3))
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[1], scores[2], rtol=1e-4, atol=1e-5)


def test_histories_asked_about_together_get_the_answers_they_get_alone(rival: Model) -> None:
    rows = [
        (list(range(count)), [LIKED] * count, [step * HOUR for step in range(count)])
        for count in (3, 0, 8, 1)
    ]
    together = Histories.of(rows, [20 * HOUR] * 4)
    alone = np.concatenate([rival.scorer.scores(together.slice(n, n + 1)) for n in range(4)])
    np.testing.assert_allclose(rival.scorer.scores(together), alone, rtol=1e-4, atol=1e-5)


def test_a_saved_rival_answers_alike(rival: Model, tmp_path: Path) -> None:
    rival.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    histories, _ = asked_in_ring()
    np.testing.assert_array_equal(again.scorer.scores(histories), rival.scorer.scores(histories))
    assert type(again.scorer) is type(rival.scorer)


@pytest.mark.parametrize("name", ["sasrec", "bert4rec", "feed-forward", "matrix-factorisation"])
def test_nothing_at_or_after_the_test_window_is_learned(name: Rival) -> None:
    dataset = with_window(ring(users=20), 0.5)
    times = np.sort(dataset.log.times)
    fold = replace(dataset.folds[0], test_start=int(times[int(0.8 * len(times))]))
    log = dataset.log
    items = np.where(log.times >= fold.test_start, (log.items + 5) % 16, log.items)
    changed = replace(dataset, log=replace(log, items=items.astype(np.int32)))
    assert (items != log.items).any()
    histories, _ = asked_in_ring()
    config = config_of(epochs=2)
    one, other = (fit(name, each, fold, config).scorer for each in (dataset, changed))
    np.testing.assert_array_equal(one.scores(histories), other.scores(histories))


@pytest.mark.parametrize("name", BY_ID)
def test_an_item_unknown_in_training_comes_last_where_ids_alone_are_read(name: Rival) -> None:
    rows = [
        (user, (user + step) % 4, LIKED, (step + 1) * HOUR)
        for user in range(8)
        for step in range(5)
    ]
    dataset = dataset_of(rows, 6)
    scores = fit(name, dataset, dataset.folds[0], config_of(epochs=1)).scorer.scores(
        Histories.of([([0, 1], [LIKED] * 2, [HOUR, 2 * HOUR])], [9 * HOUR])
    )
    assert scores[0, 4:].max() < scores[0, :4].min()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 4),
            st.sampled_from([SHOWN, LIKED]),
            st.integers(1, 12),
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(2, 13),
)
def test_each_event_is_a_target_once_of_the_state_that_read_what_lay_strictly_before(
    rows: list[tuple[int, int, int, int]], cut: int
) -> None:
    dataset = dataset_of(rows, 5)
    config = config_of()
    limit = config.model.history
    windows = Windows.before(dataset, cut, config)
    past = sorted((row[0], row[3], row[1]) for row in rows if row[3] < cut)
    found = []
    for batch in windows.batches(64, np.random.default_rng(0)):
        width = batch.sequences.tokens.shape[1]
        assert int(batch.sequences.lengths.max()) <= limit
        assert (batch.sequences.tokens[~batch.sequences.inside] == 6).all()
        for state, target, now in zip(batch.state, batch.target, batch.now, strict=True):
            row, read = int(state) // width, int(state) % width
            seen = batch.sequences.times[row, 1 : read + 1]
            assert (seen < now).all()
            others = batch.sequences.times[row, read + 1 : int(batch.sequences.lengths[row]) + 1]
            assert (others >= now).all()
            found.append((int(now), int(target)))
    assert sorted(found) == sorted((time, item) for _, time, item in past)


def test_a_long_history_is_read_in_windows_that_overlap_by_half() -> None:
    dataset = dataset_of([(0, step % 5, LIKED, step + 1) for step in range(30)], 5)
    windows = Windows.before(dataset, 100, config_of())
    batch = windows.batch(np.arange(len(windows.start)))
    width = batch.sequences.tokens.shape[1]
    read = {int(now): int(state) % width for now, state in zip(batch.now, batch.state, strict=True)}
    assert [read[now] for now in range(1, 10)] == list(range(9))
    assert sorted(read) == list(range(1, 31))
    # Behind the first window everything is asked for after at least half a window.
    assert all(read[now] >= 4 for now in range(10, 31))


def test_the_start_token_comes_first_and_padding_behind_the_end() -> None:
    histories = Histories.of([([1, 2], [LIKED] * 2, [5, 6]), ([], [], [])], [9, 9])
    found = Sequences.cut(histories, histories.offsets[:-1], histories.lengths, 4)
    assert found.tokens.tolist() == [[4, 1, 2], [4, 5, 5]]
    assert found.inside.tolist() == [[True] * 3, [True, False, False]]


def test_running_means_by_hand() -> None:
    histories = Histories.of([([1, 0, 1], [LIKED] * 3, [5, 6, 7]), ([], [], [])], [9, 9])
    found = Sequences.cut(histories, histories.offsets[:-1], histories.lengths, 2)
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [7.0, 7.0], [9.0, 9.0]])
    states = running_means(vectors[found.tokens], found)
    assert states[0].tolist() == [
        [7, 7, 7, 7],
        [0, 1, 0, 1],
        [0.5, 0.5, 1, 0],
        [pytest.approx(1 / 3), pytest.approx(2 / 3), 0, 1],
    ]
    assert states[1, 0].tolist() == [7, 7, 7, 7]


def test_what_is_known_of_people_is_hashed_the_same_way_everywhere() -> None:
    histories = Histories.of([([1], [LIKED], [5]), ([], [], [])], [9, 9])
    people = [{"age": "30", "country": "DE"}, None]
    found = Sequences.cut(histories, histories.offsets[:-1], histories.lengths, 2, people)
    assert found.people.shape == (2, 2)
    assert (found.people[0] > 0).all()
    assert (found.people[0] < PEOPLE).all()
    assert found.people[1].tolist() == [0, 0]
    moments = Moments.of(found, torch.tensor([3, 0]), torch.tensor([9, 8]))
    assert moments.people.tolist() == [[0, 0], found.people[0].tolist()]
    assert moments.read.tolist() == [1, 0]
    assert moments.now.tolist() == [9, 8]


@pytest.mark.parametrize("name", ["two-tower", "feed-forward"])
def test_people_without_history_are_answered_by_what_is_known_of_them(name: Rival) -> None:
    dataset = groups()
    kinds = [str(user % 4) for user in range(40)]
    attributes = pa.table({"user": list(dataset.log.users), "kind": kinds})
    known = replace(dataset, attributes=attributes)
    model = fit(name, known, dataset.folds[0], config_of(epochs=25, tokens_per_batch=128))
    rows: list[tuple[list[int], list[int], list[int]]] = [([], [], [])] * 4
    asked = Histories.of(rows, [20 * HOUR] * 4)
    asked = replace(asked, people=tuple({"kind": str(kind)} for kind in range(4)))
    best, _ = top_k(model.scorer.scores(asked), 6)
    assert (best // 6 == np.arange(4)[:, None]).mean() > 0.7


@pytest.mark.parametrize("name", ["two-tower", "feed-forward"])
def test_of_people_only_what_was_trained_on_is_read_and_said_to_be_read(
    name: Rival, tmp_path: Path
) -> None:
    dataset = groups()
    config = config_of(epochs=1, tokens_per_batch=128)
    attributes = pa.table({"user": list(dataset.log.users), "kind": ["a", "b"] * 20})
    knowing = replace(dataset, attributes=attributes)
    fit(name, knowing, dataset.folds[0], config).save(tmp_path / "model")
    model = Model.load(tmp_path / "model")
    assert (model.reads_profiles, model.reads_surfaces) == (True, False)
    nobody = Histories.of([([], [], [])] * 2, [20 * HOUR] * 2)
    kinds = replace(nobody, people=({"kind": "a"}, {"kind": "b"}))
    more = replace(nobody, people=({"kind": "a", "x": "1"}, {"x": "2", "kind": "b"}))
    scores = model.scorer.scores(kinds)
    np.testing.assert_array_equal(model.scorer.scores(more), scores)
    assert (scores[0] != scores[1]).any()
    without = fit(name, dataset, dataset.folds[0], config)
    assert not without.reads_profiles
    np.testing.assert_array_equal(without.scorer.scores(more), without.scorer.scores(nobody))


def test_validation_asks_for_people_as_training_knows_them() -> None:
    dataset = with_window(groups())
    attributes = pa.table({"user": list(dataset.log.users), "kind": ["a", "b"] * 20})
    knowing = replace(dataset, attributes=attributes)
    asked = validation_of(knowing, dataset.folds[0], config_of()).histories
    assert len(asked)
    assert asked.people is not None
    assert {tuple((each or {}).items()) for each in asked.people} == {
        (("kind", "a"),),
        (("kind", "b"),),
    }


@pytest.mark.parametrize("name", ["two-tower", "feed-forward", "matrix-factorisation-text"])
def test_an_item_that_nobody_took_is_placed_by_its_text(name: Rival) -> None:
    dataset = groups(of_kind=6)
    log = dataset.log
    # Items 0, 6, 12 and 18 are of the four kinds; nobody has taken any of them yet.
    dataset = replace(dataset, log=log.where(log.items % 6 != 0))
    model = fit(name, dataset, dataset.folds[0], config_of(tokens_per_batch=128))
    rows = [([kind * 6 + 1, kind * 6 + 2], [LIKED] * 2, [HOUR, 2 * HOUR]) for kind in range(4)]
    scores = model.scorer.scores(Histories.of(rows, [20 * HOUR] * 4))[:, ::6]
    assert (scores.argmax(axis=1) == np.arange(4)).mean() >= 0.75


def test_the_softmax_is_over_the_known_items_and_weighted() -> None:
    torch.manual_seed(2)
    known = torch.tensor([True, False, True, True])
    loss = Softmax.over(known, NeuralRivalsConfig())
    states, items, bias = torch.randn(3, 4), torch.randn(4, 4), torch.randn(4)
    target, weight = torch.tensor([0, 3, 2]), torch.tensor([1.0, 0.5, 0.25])
    logits = (states @ items.T + bias)[:, known]
    each = logits.logsumexp(1) - logits[torch.arange(3), torch.tensor([0, 2, 1])]
    expected = (each * weight).sum() / weight.sum()
    torch.testing.assert_close(loss(states, target, weight, items, bias), expected)


def test_the_sampled_softmax_is_about_the_full_one_when_many_are_drawn() -> None:
    torch.manual_seed(4)
    states, items, bias = torch.randn(50, 8), torch.randn(300, 8) / 2, torch.randn(300) / 2
    target, weight = torch.randint(300, (50,)), torch.ones(50)
    full = Softmax.over(torch.ones(300, dtype=torch.bool), NeuralRivalsConfig())
    drawn = NeuralRivalsConfig(softmax_items=100, negatives=20_000)
    sampled = Softmax.over(torch.ones(300, dtype=torch.bool), drawn)
    whole = full(states, target, weight, items, bias)
    close = sampled(states, target, weight, items, bias)
    torch.testing.assert_close(close, whole, rtol=0.01, atol=0)


def test_the_loss_of_pairs_by_hand() -> None:
    positive, negative = torch.tensor([0.0, 2.0]), torch.tensor([[0.0], [-1.0]])
    weight = torch.tensor([1.0, 3.0])
    by_hand = np.array([2 * np.log(2), np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))])
    expected = (by_hand * [1, 3]).sum() / 4
    assert pair_loss(positive, negative, weight).item() == pytest.approx(expected, rel=1e-6)
