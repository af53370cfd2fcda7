"""Reading only what a request needs gives what the whole module gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformer_by_hand import CATALOGUE, HISTORY, NOW, histories, module

from recommender.export.state_scorer import StateScorer
from recommender.export.tables import BucketTables, hours, weekdays
from recommender.features.sequences import Histories
from recommender.model import times
from recommender.model.scorer import TransformerScorer

ATOL = 1e-5
TABLES = BucketTables(HISTORY)
MOMENTS = st.one_of(
    st.integers(-(2**45), 2**45),
    # Right at, before and after where buckets begin.
    st.builds(lambda b, d: 1000 * (2**b - 1) + d, st.integers(0, 30), st.integers(-2, 2)),
)


@given(st.lists(MOMENTS, min_size=1, max_size=50))
def test_tables_find_the_buckets_that_training_found(moments: list[int]) -> None:
    asked = torch.tensor(moments)
    assert torch.equal(TABLES.durations(asked), times.duration_buckets(asked))
    assert torch.equal(hours(asked), times.hours(asked))
    assert torch.equal(weekdays(asked), times.weekdays(asked))


@pytest.mark.parametrize("lengths", [[0], [1], [HISTORY], [0, 0], [3, 0, 1, HISTORY, 7], [40, 2]])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"repeats": False},
        {"layers": 1},
        {"request_time": False},
        {"time_bias": False},
        {"event_time": False},
        {"block": "hstu", "position": "rotary", "time_bias": False},
        {"position": "absolute", "bias_per_layer": True, "similarity": "cosine"},
        {"text_match": True},
    ],
    ids=[
        "all",
        "no repeats",
        "one block",
        "no request",
        "no time bias",
        "order alone",
        "hstu, rotary",
        "absolute, bias per layer, cosine",
        "text match",
    ],
)
def test_scores_and_actions_are_those_of_the_whole_module(lengths, shape) -> None:
    made = module(**shape)
    ours, theirs = StateScorer(made, CATALOGUE), TransformerScorer(made, CATALOGUE)
    for seed in range(3):
        asked = histories(lengths, seed)
        np.testing.assert_allclose(ours.scores(asked), theirs.scores(asked), atol=ATOL)
        items = np.random.default_rng(seed).integers(0, len(CATALOGUE), (len(lengths), 4))
        np.testing.assert_allclose(
            ours.action_probabilities(asked, items),
            theirs.action_probabilities(asked, items),
            atol=ATOL,
        )


def test_events_at_the_same_moment_are_read_alike(whole: TransformerScorer) -> None:
    asked = histories([5, 12], step=0)
    ours = StateScorer(whole.module, CATALOGUE)
    np.testing.assert_allclose(ours.scores(asked), whole.scores(asked), atol=ATOL)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99),
    visits=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    block=st.sampled_from(["swiglu", "hstu"]),
    position=st.sampled_from(["relative", "rotary", "absolute"]),
    own=st.booleans(),
)
def test_a_history_that_grows_is_read_on_from_where_it_was(
    seed: int, visits: list[int], block: str, position: str, own: bool
) -> None:
    made = module(block=block, position=position, bias_per_layer=own)
    ours = StateScorer(made, CATALOGUE, keys_values=True)
    theirs = TransformerScorer(made, CATALOGUE)
    full, length = histories([HISTORY], seed), 1
    for more in visits:
        length = min(length + more, HISTORY)
        asked = _first(full, length)
        np.testing.assert_allclose(ours.scores(asked), theirs.scores(asked), atol=ATOL)
    assert ours.states.misses == 1
    assert ours.states.grown + ours.states.hits == len(visits) - 1


def test_people_who_began_alike_are_kept_apart_and_a_grown_history_takes_one_place(
    whole: TransformerScorer,
) -> None:
    # As in a log of order alone: the same film first, at moment 0.
    one, other = (histories([6], seed) for seed in (1, 2))
    for part in ("items", "actions", "times"):
        getattr(other, part)[:1] = getattr(one, part)[:1]
    ours = StateScorer(whole.module, CATALOGUE, keys_values=True)
    for asked in (_first(one, 5), _first(other, 5)):
        ours.scores(asked)
    for asked in (one, other, one):
        np.testing.assert_allclose(ours.scores(asked), whole.scores(asked), atol=ATOL)
    assert (ours.states.misses, ours.states.grown, ours.states.hits) == (2, 2, 1)
    assert len(ours.states) == 2


def test_a_history_that_was_corrected_is_read_anew(whole: TransformerScorer) -> None:
    ours = StateScorer(whole.module, CATALOGUE, keys_values=True)
    before = histories([6])
    ours.scores(before)
    items = before.items.copy()
    items[4] += 1
    after = Histories(
        items, before.actions, before.times, before.values, before.offsets, before.now
    )
    np.testing.assert_allclose(ours.scores(after), whole.scores(after), atol=ATOL)
    assert ours.states.misses == 2


def test_a_window_that_moves_is_read_anew(whole: TransformerScorer) -> None:
    ours = StateScorer(whole.module, CATALOGUE, keys_values=True)
    longer = histories([HISTORY + 1])
    ours.scores(_first(longer, HISTORY))
    np.testing.assert_allclose(ours.scores(longer), whole.scores(longer), atol=ATOL)
    assert ours.states.misses == 2


def test_the_moment_of_asking_is_never_kept(whole: TransformerScorer) -> None:
    ours = StateScorer(whole.module, CATALOGUE)
    asked = histories([5])
    later = Histories(
        asked.items, asked.actions, asked.times, asked.values, asked.offsets, asked.now + 10**9
    )
    assert not np.allclose(ours.scores(asked), whole.scores(later), atol=ATOL)
    np.testing.assert_allclose(ours.scores(later), whole.scores(later), atol=ATOL)
    assert (ours.states.hits, ours.states.misses) == (1, 1)


@pytest.mark.parametrize("keys_values", [False, True])
def test_what_is_kept_stays_within_its_bound_and_the_oldest_goes_first(
    whole: TransformerScorer, keys_values: bool
) -> None:
    ours = StateScorer(whole.module, CATALOGUE, megabytes=0.02, keys_values=keys_values)
    many = [histories([9], seed) for seed in range(60)]
    for asked in many:
        ours.scores(asked)
        assert ours.states.size <= 0.02 * 2**20
    assert 0 < len(ours.states) < 60
    ours.scores(many[-1])
    ours.scores(many[0])
    assert (ours.states.hits, ours.states.misses) == (1, 61)


def _first(whole: Histories, length: int) -> Histories:
    """Return the first events of one history, asked about later and later."""
    return Histories(
        whole.items[:length],
        whole.actions[:length],
        whole.times[:length],
        whole.values[:length],
        np.array([0, length]),
        np.array([NOW + 60_000 * length]),
    )
