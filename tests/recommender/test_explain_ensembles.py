"""An ensemble is explained by what its Transformer reads, and by the lists of its other members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reads_everything import IDS, ITEMS, scorer

from recommender.baselines.item_knn import ItemKNN
from recommender.baselines.popularity import Popularity
from recommender.ensemble import UNIFIED, Ensemble, Member, places
from recommender.explain import explain, modalities
from recommender.features.sequences import Catalogue, Histories
from recommender.model.modalities import modalities_of

CATALOGUE = Catalogue(IDS)
NOW, HOUR = 1_700_000_000_000, 3_600_000
ASKED = np.array([0, 5, 9])


def fused(*, skips_seen: bool) -> Ensemble:
    random = np.random.default_rng(4)
    neighbours = np.argsort(random.random((ITEMS, ITEMS)), axis=1)[:, :4].astype(np.int32)
    similar = random.random((ITEMS, 4), np.float32)
    popular = random.random(ITEMS, np.float32)
    members = [
        Member(UNIFIED, scorer(demand=True), 2.0, 8),
        Member("item-knn", ItemKNN(CATALOGUE, neighbours, similar, popular, 3.0), 1.0, 5),
        Member("popularity", Popularity(CATALOGUE, popular), 0.5, 1),
    ]
    return Ensemble(members, 10.0, skips_seen)


@pytest.fixture(scope="module", params=[False, True], ids=["all placed", "seen without places"])
def ensemble(request) -> Ensemble:
    return fused(skips_seen=request.param)


def history_of(items: list[int], sex: str = "f") -> Histories:
    times = [NOW + HOUR * place for place in range(len(items))]
    told = Histories.of([(items, [1 + item % 3 for item in items], times)], [NOW + 99 * HOUR])
    return replace(
        told,
        people=({"sex": sex},),
        surfaces=np.array([item % 3 for item in items], np.int8),
        surface=np.array([1], np.int8),
    )


@given(items=st.lists(st.integers(0, ITEMS - 1), max_size=9))
@settings(max_examples=6)
def test_the_parts_of_an_ensemble_add_up_to_the_fused_score(ensemble, items):
    history = history_of(items)
    found = modalities(ensemble, history, ASKED, 1)
    np.testing.assert_allclose(found.scores, ensemble.scores(history)[0, ASKED], atol=1e-6)
    np.testing.assert_allclose(sum(found.parts.values()), found.scores - found.floor, atol=1e-12)
    unified = ensemble.members[0].scorer
    read = [each.name for each in modalities_of(unified.module, 1)]
    assert list(found.parts) == [*read, "member:item-knn", "member:popularity"]


def test_other_members_have_their_own_term_over_that_of_a_list_without_an_order(ensemble):
    history = history_of([3, 5, 7, 2, 1, 6, 4])
    found = modalities(ensemble, history, ASKED, 1)
    seen = ensemble.placeless(history.items)
    even = places(np.zeros(ITEMS, np.float32), seen)[ASKED]
    floor = (2 + 1 + 0.5) / (10 + even)
    np.testing.assert_allclose(found.floor, floor, rtol=1e-6)
    for member in ensemble.members[1:]:
        own = places(member.scorer.scores(history.recent(member.reads))[0], seen)[ASKED]
        expected = member.weight * (1 / (10 + own) - 1 / (10 + even))
        np.testing.assert_allclose(found.parts[f"member:{member.name}"], expected, atol=1e-12)


def test_what_its_transformer_reads_counts_in_the_fused_score(ensemble):
    found = modalities(ensemble, history_of([3, 5, 7, 2]), np.arange(ITEMS), 1)
    for name in ("item_id", "text", "categories", "action", "person", "demand", "popularity"):
        assert np.abs(found.parts[name]).max() > 1e-4, name
    nobody = modalities(ensemble, history_of([3, 5, 7, 2], sex="?"), np.arange(ITEMS), 1)
    assert not nobody.parts["person"].any()


def test_the_events_of_an_ensemble_add_up_to_the_fused_score_too(ensemble):
    history = history_of([3, 5, 7, 2])
    found = explain(ensemble, history, ASKED)
    np.testing.assert_allclose(found.scores, ensemble.scores(history)[0, ASKED], atol=1e-6)
    np.testing.assert_allclose(found.weights.sum(axis=0), found.scores - found.base, atol=1e-9)
    assert np.abs(found.weights).max() > 1e-4


def test_an_ensemble_whose_first_is_no_transformer_has_members_alone():
    class Knowing(Popularity):
        value_names = (None,)

        def action_probabilities(self, histories, items):
            return np.ones((*items.shape, 1), np.float32)

        def expected_values(self, histories, items):
            return np.full((*items.shape, 1), np.nan, np.float32)

    few = Catalogue(("a", "b", "c"))
    two = [
        Member("first", Knowing(few, np.array([3, 2, 1], np.float32)), 1.0, 5),
        Member("second", Popularity(few, np.array([1, 2, 3], np.float32)), 2.0, 5),
    ]
    history = Histories.of([([0], [1], [NOW])], [NOW + 1])
    found = modalities(Ensemble(two, 1.0, False), history, np.arange(3), 1)
    assert list(found.parts) == ["member:first", "member:second"]
    np.testing.assert_allclose(found.floor, [1.0] * 3)
    np.testing.assert_allclose(found.parts["member:first"], [1 / 2 - 1 / 3, 0, 1 / 4 - 1 / 3])
    np.testing.assert_allclose(found.parts["member:second"], [2 / 4 - 2 / 3, 0, 2 / 2 - 2 / 3])
