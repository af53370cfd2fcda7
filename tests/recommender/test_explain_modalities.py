"""What each thing that a model reads adds to a score: named, complete, and really hidden."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reads_everything import ACTIONS, IDS, ITEMS, scorer
from tables_by_hand import configuration
from taste_shop import scorer as plain_scorer

from recommender.baselines.popularity import Popularity
from recommender.explain import EVENTS, explain, modalities
from recommender.explain.hidden import HiddenFrom, apart
from recommender.features.sequences import Catalogue, Histories
from recommender.model.modalities import modalities_of
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer

START, DAY = 1_700_000_000_000, 86_400_000
EVERYTHING = (
    *("item_id", "text", "categories", "brand", "price", "number:year", "vector:image"),
    *("action", "surface", "time", "order", "person", "request_time"),
    *("popularity", "demand", "repeats"),
)
SHAPES = [
    {"demand": True},
    {"block": "hstu", "position": "rotary", "similarity": "cosine", "demand": True},
    {"position": "rotary", "bias_per_layer": True, "demand": True, "ranking": {"head": "target"}},
    {"block": "hstu", "position": "absolute", "id_buckets": 9, "demand": True},
]
ASKED = np.array([0, 5, 9])


def told(items=(2, 5, 11, 5), *, seed: int = 0, person: str | None = "f") -> Histories:
    """Return one history of somebody, asked about a day after its last event."""
    random = np.random.default_rng(seed)
    events = len(items)
    times = START + np.sort(random.integers(0, 30 * DAY, events))
    actions = random.integers(2, ACTIONS + 1, events)
    now = int(times[-1]) + DAY if events else START
    return replace(
        Histories.of([(list(items), actions.tolist(), times.tolist())], [now]),
        people=(None if person is None else {"sex": person},),
        surfaces=random.integers(1, 3, events).astype(np.int8),
        surface=np.array([2], np.int8),
    )


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: " ".join(map(str, shape.values())))
def model(request) -> TransformerScorer:
    return scorer(**request.param)


@pytest.fixture(scope="module")
def usual() -> TransformerScorer:
    return scorer(demand=True)


@given(
    items=st.lists(st.integers(0, ITEMS - 1), max_size=12),
    seed=st.integers(0, 99),
    person=st.sampled_from(["f", "m", "unheard of", None]),
)
@settings(max_examples=8)
def test_parts_and_events_add_up_whatever_a_model_reads_and_whatever_its_shape(
    model, items, seed, person
):
    history = told(items, seed=seed, person=person)
    found = modalities(model, history, ASKED, 1)
    assert tuple(found.parts) == EVERYTHING
    np.testing.assert_allclose(found.scores, model.scores(history)[0, ASKED], atol=1e-4)
    np.testing.assert_allclose(sum(found.parts.values()), found.scores - found.floor, atol=1e-9)
    events = explain(model, history, ASKED)
    np.testing.assert_allclose(events.weights.sum(axis=0), events.scores - events.base, atol=1e-9)
    np.testing.assert_allclose(events.scores, found.scores, atol=1e-4)
    # Nothing is known of any item, so all are worth the same.
    assert np.ptp(found.floor) < 1e-6
    if person not in ("f", "m"):
        assert not found.parts["person"].any()
    if not items:
        for name in ("action", "time", "order", "repeats"):
            np.testing.assert_allclose(found.parts[name], 0, atol=1e-6)


def test_what_is_not_read_has_no_part(tmp_path):
    config = configuration(tmp_path)
    history = Histories.of([([1, 6], [2, 3], [START, START + DAY])], [START + 2 * DAY])
    least = ["item_id", "text", "action", "time", "order", "request_time", "popularity"]
    found = modalities(plain_scorer(config), history, ASKED, 2)
    assert list(found.parts) == least
    # Of items that nobody has taken there is nothing but what is said of them.
    untold = modalities(plain_scorer(config, known=[False] * 12), history, ASKED, 2)
    assert list(untold.parts) == least[1:]
    bare = scorer(
        **{"attribute_width": 0, "numbers": [], "vectors": []},
        **{"event_time": False, "time_bias": False, "request_time": False},
    )
    bare.module.tower.text_IV.zero_()
    bare = TransformerScorer.restore(bare.settings(), bare.weights(), bare.catalogue)
    names = list(modalities(bare, told(), ASKED, 1).parts)
    assert names == ["item_id", "action", "surface", "order", "person", "popularity", "repeats"]


def test_a_part_that_is_not_there_adds_nothing(usual):
    model, history = usual, told()
    plain = replace(history, actions=np.ones_like(history.actions))
    nowhere = replace(history, surfaces=history.surfaces * 0, surface=history.surface * 0)
    parts = modalities(model, history, ASKED, 1).parts
    for changed, name in ((plain, "action"), (nowhere, "surface"), (told(person="?"), "person")):
        assert np.abs(parts[name]).max() > 1e-3
        assert not modalities(model, changed, ASKED, 1).parts[name].any()
    # Of the three, only item 5 is in the history.
    assert np.flatnonzero(np.abs(parts["repeats"]) > 1e-6).tolist() == [1]


def changes(history: Histories):
    """Return requests that differ from one in what must be hidden to make them alike."""
    later = history.times.copy()
    later[1] += 7_200_000
    yield "person", replace(history, people=({"sex": "m"},)), {"person"}
    yield "action", replace(history, actions=history.actions % 3 + 1), {"action"}
    yield "surfaces", replace(history, surfaces=3 - history.surfaces), {"surface"}
    yield "surface", replace(history, surface=np.array([1], np.int8)), {"surface"}
    yield "now", replace(history, now=history.now + 29 * 3_600_000), {"request_time"}
    yield "times", replace(history, times=later), {"time"}
    swapped = [1, 0, 2, 3]
    yield (
        "order",
        replace(
            history,
            items=history.items[swapped],
            actions=history.actions[swapped],
            surfaces=history.surfaces[swapped],
        ),
        {"order", "time"},
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: " ".join(map(str, shape.values())))
def test_what_is_hidden_can_be_anything_and_what_is_shown_can_not(shape):
    # With one block a state sees its past at once: without places, in no order.
    model = scorer(**shape, layers=1)
    read = modalities_of(model.module, 1)
    history = told((2, 7, 11, 5))
    others = np.setdiff1d(np.arange(ITEMS), history.items)
    for what, changed, hidden in changes(history):
        one, other = HiddenFrom(model, history, read), HiddenFrom(model, changed, read)
        shown = frozenset(EVERYTHING) - hidden
        assert np.abs((one.scores(shown) - other.scores(shown))[others]).max() < 1e-4, what
        for name in hidden:
            whole = shown | {name}
            assert np.abs((one.scores(whole) - other.scores(whole))[others]).max() > 1e-3, what


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: " ".join(map(str, shape.values())))
def test_what_is_hidden_of_items_can_be_anything(shape):
    model, other = scorer(**shape), scorer(**shape)
    spans = model.module.reads.columns(model.module.tower.text_IV.shape[1])
    history = told()
    edits = {
        **{name: (other.module.tower.text_IV, span) for name, span in spans.items()},
        "popularity": (other.module.popularity.popularity_IF, slice(0, 2)),
        "demand": (other.module.popularity.popularity_IF, slice(2, 4)),
        "item_id": (other.module.tower.id_ID, slice(None)),
    }
    read = modalities_of(model.module, 1)
    everything = frozenset(EVERYTHING)
    assert set(edits) == everything - set(EVERYTHING[7:13]) - {"repeats"}
    for name, (tensor, span) in edits.items():
        before = tensor.detach().clone()
        with torch.no_grad():
            tensor[:, span] = tensor[:, span].flip(0) + 0.5
        one, two = HiddenFrom(model, history, read), HiddenFrom(other, history, read)
        np.testing.assert_allclose(one.scores(everything - {name}), two.scores(everything - {name}))
        assert np.abs(one.scores(everything) - two.scores(everything)).max() > 1e-3, name
        with torch.no_grad():
            tensor.copy_(before)


def test_two_weights_that_are_one_tensor_are_hidden_each_by_itself(usual):
    module = UnifiedTransformer(
        usual.module.config.model_copy(update={"demand": False}),
        ACTIONS,
        torch.randn(ITEMS, 6),
        torch.ones(ITEMS),
        torch.randn(ITEMS, 2),
        repeats=True,
    )
    # As modules that were read from files may have them.
    module.popularity.known_I = module.tower.known_I
    with torch.no_grad():
        module.popularity.rest_I.normal_()
    model = TransformerScorer(module, Catalogue(IDS))
    found = modalities(model, told(), ASKED, 1)
    np.testing.assert_allclose(sum(found.parts.values()), found.scores - found.floor, atol=1e-9)
    read = modalities_of(module, 1)
    alone = HiddenFrom(model, told(), read).scores(frozenset({"item_id"}))
    assert np.abs(alone - module.popularity.rest_I.detach().numpy()).max() > 1e-3


def test_a_model_that_is_explained_goes_on_answering_others(usual):
    model, history = usual, told()
    before = model.scores(history)
    own = apart(model)
    assert own.module.tower.id_ID.data_ptr() == model.module.tower.id_ID.data_ptr()
    hidden = HiddenFrom(own, history, modalities_of(model.module, 1))
    some = [frozenset(EVERYTHING[:count]) for count in range(16)]
    asking = threading.Thread(target=lambda: [hidden.scores(shown) for shown in some])
    asking.start()
    while asking.is_alive():
        np.testing.assert_array_equal(model.scores(history), before)
    asking.join()
    np.testing.assert_array_equal(model.scores(history), before)


class Noting(Popularity):
    """Popularity that counts purchases more, by people from DE on one surface twice."""

    def scores(self, histories):
        scores_BI = super().scores(histories)
        for row in range(len(histories)):
            events = slice(histories.offsets[row], histories.offsets[row + 1])
            german = bool((histories.people[row] or {}).get("country") == "DE")
            scores_BI[row, histories.items[events]] += histories.actions[events]
            scores_BI[row] *= 1 + german * int(histories.surface[row])
        return scores_BI


def test_other_models_have_parts_of_what_moves_their_scores():
    three = Catalogue(("a", "b", "c"))
    noting = Noting(three, np.array([3, 2, 1], np.float32))
    history = replace(
        Histories.of([([0, 2], [3, 1], [1, 2])], [9]),
        people=({"country": "DE"},),
        surface=np.array([1], np.int8),
    )
    found = modalities(noting, history, np.array([0, 1]), 1)
    assert list(found.parts) == ["action", "surface", "person", EVENTS]
    assert found.scores.tolist() == [12, 4]
    # Nobody, nowhere, without events: what is popular.
    assert found.floor.tolist() == [3, 2]
    np.testing.assert_allclose(sum(found.parts.values()), [9, 2])
    assert found.parts[EVENTS].tolist() == [1, 0]
    assert found.parts["surface"].tolist() == found.parts["person"].tolist()
