"""A refresh: from the champion, on what happened since, with items that it never saw."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from tiny_world import ACTIONS, tiny_config, tiny_dataset

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.config import Config, parse
from recommender.errors import TrainingError
from recommender.features.dataset import Dataset
from recommender.features.sequences import EventLog
from recommender.model import adapters
from recommender.model.extended import rows_for
from recommender.model.scorer import TransformerScorer
from recommender.training.anchor import Anchor
from recommender.training.examples import Examples
from recommender.training.refresh import Champion, Refreshed, forget, refresh
from recommender.training.run import train
from recommender.training.selection import selected, with_replay
from recommender.training.warm_start import start_from

NEW = 3


@pytest.fixture(scope="module")
def rolling() -> Dataset:
    return tiny_dataset(folds=3)


def without(dataset: Dataset, items: list[str], before: int) -> Dataset:
    """Return the data set as it was: no event from a moment on, and some items not there yet."""
    rows = np.array([row for row, item in enumerate(dataset.catalogue.ids) if item not in items])
    place = np.full(len(dataset.catalogue), -1)
    place[rows] = np.arange(len(rows))
    log = dataset.log.where((dataset.log.times < before) & (place[dataset.log.items] >= 0))
    return replace(
        dataset,
        log=replace(log, items=place[log.items].astype(np.int32)),
        items=dataset.items.take(pa.array(rows)),
        text=dataset.text[rows],
    )


@pytest.fixture(scope="module")
def champion(rolling, tmp_path_factory) -> Champion:
    """Trained on the first cut, when the last three items weren't there yet."""
    torch.set_num_threads(1)
    config = tiny_config(tmp_path_factory.mktemp("champion"), epochs=1)
    fold = rolling.folds[0]
    young = without(rolling, list(rolling.catalogue.ids[-NEW:]), fold.test_end)
    trained = train(young, fold, config)
    return Champion("m-0123456789ab", trained.model, fold.test_start)


@pytest.fixture
def changed(settings) -> Callable[..., Config]:
    """Make a configuration with settings of the refresh."""

    def make(**values: object) -> Config:
        tree = settings().model_dump(mode="json")
        return parse(tree | {"refresh": {"epochs": 1, **values}}, "test")

    return make


def weights(found: Refreshed) -> dict[str, np.ndarray]:
    return found.trained.model.scorer.weights()


def fresh(rolling: Dataset, champion: Champion) -> np.ndarray:
    """The items that the champion has no id part of."""
    known = np.append(champion.model.scorer.weights()["tower.known_I"], np.zeros(NEW))
    return known == 0


def asked(dataset: Dataset, moment: int):
    history = dataset.log.of_types(ACTIONS.histories, ACTIONS)
    users = np.arange(len(history.users))
    return history.histories(users, np.full(len(users), moment), 10)


def test_it_learns_what_happened_since_and_the_items_that_are_new(rolling, champion, changed):
    config, fold = changed(epochs=2), rolling.folds[-1]
    before = {name: value.copy() for name, value in champion.model.scorer.weights().items()}
    found = refresh(rolling, fold, champion, config)
    assert found.new_items == fresh(rolling, champion).sum() >= NEW
    assert found.recent > 0
    assert found.trained.curve[-1].phase == "refresh"
    assert np.isfinite(found.trained.curve[-1].item_loss)
    after = weights(found)
    assert len(after["tower.id_ID"]) == len(rolling.catalogue)
    assert after["tower.known_I"].all()
    assert np.abs(after["tower.id_ID"][-NEW:]).max() > 0
    for name, value in champion.model.scorer.weights().items():
        assert np.array_equal(value, before[name]), f"{name} of the champion has changed"


def test_before_its_first_step_it_answers_as_the_champion_of_the_items_that_both_know(
    rolling, champion, settings
):
    fold, config = rolling.folds[0], settings()
    examples = Examples.build(rolling.log, fold.test_start, 40, ACTIONS, config.model.history, 0.0)
    scorer = champion.model.scorer
    start = start_from(scorer, rolling, examples)
    moved = TransformerScorer(start.module, rolling.catalogue)
    histories = asked(without(rolling, list(rolling.catalogue.ids[-NEW:]), fold.test_start), 0)
    ours, theirs = moved.scores(histories), scorer.scores(histories)
    # Popularity counts the new items' own events, and forgets the others' by them; so without it.
    ours -= start.module.popularity().detach().numpy()
    theirs -= scorer.module.popularity().detach().numpy()
    assert np.abs(ours[:, :-NEW] - theirs).max() < 1e-4


def test_the_same_refresh_gives_the_same_bytes_also_when_it_was_killed(rolling, champion, changed):
    config, fold = changed(), rolling.folds[-1]
    first = weights(refresh(rolling, fold, champion, config))
    forget(rolling, fold, champion, config)

    def kill(step: int) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refresh(rolling, fold, champion, config, on_step=kill)
    steps = []
    second = weights(refresh(rolling, fold, champion, config, on_step=steps.append))
    assert min(steps) > 1
    for name, value in first.items():
        assert np.array_equal(value, second[name]), name


def test_nothing_from_the_test_window_on_is_read(rolling, champion, changed):
    config, fold = changed(), rolling.folds[1]
    log = rolling.log
    other = replace(log, items=np.where(log.times >= fold.test_start, 0, log.items).astype("int32"))
    here = weights(refresh(rolling, fold, champion, config))
    there = weights(refresh(replace(rolling, log=other), fold, champion, config))
    assert all(np.array_equal(here[name], there[name]) for name in here)


def test_adapters_leave_all_but_linear_maps_and_chosen_items_alone(rolling, champion, changed):
    found = refresh(rolling, rolling.folds[-1], champion, changed(method="lora", items="new"))
    before, after = champion.model.scorer.weights(), weights(found)
    changed_names = {
        name
        for name in after
        if before[name].shape == after[name].shape and not np.array_equal(before[name], after[name])
    }
    linear = {f"{name}.weight" for name in adapters.linear_maps(found.trained.model.scorer.module)}
    assert changed_names == linear
    old = ~fresh(rolling, champion)
    assert np.array_equal(after["tower.id_ID"][old], before["tower.id_ID"][old[:-NEW]])
    assert np.abs(after["tower.id_ID"][-NEW:]).max() > 0


def test_touched_items_learn_and_no_others(rolling, champion, changed):
    fold = replace(rolling.folds[0], test_start=rolling.folds[0].test_start + 36 * 3_600_000)
    found = refresh(rolling, fold, champion, changed(method="lora", items="touched", replay=3.0))
    before, after = champion.model.scorer.weights(), weights(found)
    moved = np.any(after["tower.id_ID"][:-NEW] != before["tower.id_ID"], axis=1)
    since = (rolling.log.times >= champion.seen_until) & (rolling.log.times < fold.test_start)
    recent = rolling.log.where(since).of_types(ACTIONS.successes, ACTIONS)
    assert set(np.flatnonzero(moved)) == {row for row in recent.items if row < 40 - NEW}
    assert 0 < moved.sum() < 40 - NEW


def test_merged_adapters_answer_as_unmerged_ones_and_as_those_on_file(
    rolling, champion, changed, tmp_path
):
    fold, config = rolling.folds[-1], changed(method="lora", learning_rate=1e-2)
    found = refresh(rolling, fold, champion, config)
    histories = asked(rolling, fold.test_start)
    merged = found.trained.model.scorer.scores(histories)
    assert found.adapted is not None
    unmerged = TransformerScorer(found.adapted, rolling.catalogue).scores(histories)
    assert np.abs(merged - unmerged).max() <= 1e-5

    assert found.write_adapters(tmp_path / "adapter", champion.version)
    base = rows_for(champion.model.scorer, rolling.catalogue)
    assert adapters.read(base, tmp_path / "adapter") == champion.version
    by_file = TransformerScorer(base, rolling.catalogue).scores(histories)
    assert np.abs(by_file - merged).max() <= 1e-5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", ["ours", "peft"])
def test_adapters_of_the_ranking_head_go_onto_the_version_they_name(
    rolling, targeted_refresh, tmp_path, reader
):
    champion, found = targeted_refresh
    champion.model.save(tmp_path / champion.version)
    found.trained.model.save(tmp_path / "candidate")
    assert found.write_adapters(tmp_path / "candidate" / "adapter", champion.version)

    base = Model.load(tmp_path / champion.version).scorer
    refreshed = Model.load(tmp_path / "candidate").scorer
    assert len(refreshed.catalogue) == len(base.catalogue) + NEW
    module = rows_for(base, refreshed.catalogue)
    if reader == "ours":
        adapters.read(module, tmp_path / "candidate" / "adapter")
    else:
        from peft import PeftModel

        loaded = PeftModel.from_pretrained(module, str(tmp_path / "candidate" / "adapter"))
        module = loaded.merge_and_unload()
    by_file = TransformerScorer(module, refreshed.catalogue)
    histories = asked(rolling, rolling.folds[-1].test_start)
    items = np.tile(np.arange(40), (len(histories), 1))
    assert np.abs(by_file.scores(histories) - refreshed.scores(histories)).max() <= 1e-5
    ours = by_file.action_probabilities(histories, items)
    assert np.abs(ours - refreshed.action_probabilities(histories, items)).max() <= 1e-5
    moment = rolling.folds[0].test_start
    early = asked(without(rolling, list(rolling.catalogue.ids[-NEW:]), moment), moment)
    items = np.tile(np.arange(40 - NEW), (len(early), 1))
    before = base.action_probabilities(early, items)
    assert np.abs(by_file.action_probabilities(early, items) - before).max() > 1e-3


def test_what_items_have_of_their_own_in_the_ranking_head_learns_beside_adapters(targeted_refresh):
    champion, found = targeted_refresh
    own = "action.target.own_ID"
    before, after = champion.model.scorer.weights()[own], weights(found)[own]
    assert np.abs(after[-NEW:]).max() > 0
    assert not np.array_equal(after[:-NEW], before)


@pytest.fixture(scope="module")
def targeted_refresh(rolling, tmp_path_factory) -> tuple[Champion, Refreshed]:
    """A champion with the `target` head, and its refresh by adapters with items it never saw."""
    torch.set_num_threads(1)
    fold = rolling.folds[0]
    young = without(rolling, list(rolling.catalogue.ids[-NEW:]), fold.test_end)
    tree = tiny_config(tmp_path_factory.mktemp("targeted"), epochs=1).model_dump(mode="json")
    tree["model"]["ranking"] = {"head": "target"}
    tree["refresh"] = {"method": "lora", "epochs": 1, "learning_rate": 1e-2}
    config = parse(tree, "test")
    champion = Champion("m-0123456789ab", train(young, fold, config).model, fold.test_start)
    return champion, refresh(rolling, rolling.folds[-1], champion, config)


def test_a_strong_anchor_holds_the_weights_where_the_champion_has_them(rolling, champion, changed):
    def way(anchor: float) -> float:
        wanted = changed(anchor=anchor, replay=0.0, learning_rate=1e-2)
        before = champion.model.scorer.weights()
        after = weights(refresh(rolling, rolling.folds[-1], champion, wanted))
        return sum(
            float(np.abs(after[name] - before[name]).sum()) for name in after if "blocks" in name
        )

    assert way(0.0) > way(30.0) > way(1e9) == 0


@property_settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(0, 5))
def test_the_anchor_goes_the_stated_share_of_the_way_back(rate, strength):
    module = torch.nn.Linear(3, 2)
    anchor, start = Anchor(module, strength), module.weight.detach().clone()
    with torch.no_grad():
        module.weight.add_(1.0)
    anchor.pull(module, rate)
    left = 1 - min(1.0, rate * strength)
    assert torch.allclose(module.weight - start, torch.full_like(start, left), atol=1e-5)


@pytest.fixture(scope="module")
def whole(rolling) -> Examples:
    made = Examples.build(rolling.log, rolling.folds[-1].test_start, 40, ACTIONS, 10, 0.0)
    # Whatever else a model may read or learn from, all different, so that a wrong row shows.
    return replace(
        made,
        value=np.arange(2.0 * len(made.action), dtype=np.float32).reshape(-1, 2),
        surface=(np.arange(len(made.now)) % 127).astype(np.int8),
        people=np.arange(3 * len(made.window_start)).reshape(-1, 3),
    )


@property_settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0.05, 1))
def test_selected_examples_are_those_contexts_with_all_that_belongs_to_them(whole, seed, share):
    contexts = len(whole.now)
    keep = np.random.default_rng(seed).random(contexts) < share
    keep[seed % contexts] = True
    some = selected(whole, keep)
    window_of = np.repeat(np.arange(len(whole.window_start)), np.diff(whole.context_offsets))
    here = np.repeat(np.arange(len(some.window_start)), np.diff(some.context_offsets))
    assert np.array_equal(some.window_start[here], whole.window_start[window_of[keep]])
    assert np.array_equal(some.now, whole.now[keep])
    assert (some.window_length[here] >= some.position).all()
    assert len(some.people) == len(some.window_start)
    assert np.array_equal(some.people[here], whole.people[window_of[keep]])
    assert np.array_equal(some.surface, whole.surface[keep])
    assert len(some.value) == len(some.action)
    for number, context in enumerate(np.flatnonzero(keep)):
        for offsets, values in (
            ("item_offsets", "item"),
            ("action_offsets", "action"),
            ("action_offsets", "value"),
        ):
            ours, theirs = getattr(some, offsets), getattr(whole, offsets)
            mine = getattr(some, values)[ours[number] : ours[number + 1]]
            old = getattr(whole, values)[theirs[context] : theirs[context + 1]]
            assert np.array_equal(mine, old)
        table, old_table = some.popularity[some.slice[number]], whole.popularity
        assert np.array_equal(table, old_table[whole.slice[context]])


def test_replay_is_of_earlier_moments_about_as_many_as_asked_for(whole, rolling):
    since = rolling.folds[1].test_start
    recent, none = with_replay(whole, since, 0.0, np.array([1]))
    assert np.array_equal(recent, whole.now >= since)
    assert not none.any()
    _, twice = with_replay(whole, since, 2.0, np.array([1]))
    _, other = with_replay(whole, since, 2.0, np.array([2]))
    assert not (twice & recent).any()
    longest = np.diff(whole.context_offsets).max()
    assert 2 * recent.sum() <= twice.sum() <= 2 * recent.sum() + longest
    assert not np.array_equal(twice, other)


def test_an_item_with_other_words_is_read_by_them_and_the_rest_stays(rolling, champion, settings):
    examples = Examples.build(rolling.log, rolling.folds[-1].test_start, 40, ACTIONS, 10, 0.0)
    text = rolling.text.copy()
    text[4] = -text[4]
    start = start_from(champion.model.scorer, replace(rolling, text=text), examples)
    same = start_from(champion.model.scorer, rolling, examples)
    moved = np.any((start.module.tower.text_IV != same.module.tower.text_IV).numpy(), axis=1)
    assert np.flatnonzero(moved[:-NEW]).tolist() == [4]


def widened(dataset: Dataset, width: int) -> Dataset:
    """Return the data set with text vectors that say the same in more numbers."""
    to = np.random.default_rng(1).normal(size=(dataset.text.shape[1], width))
    return replace(dataset, text=(dataset.text @ to).astype(np.float32))


# 37 items are known to both: fewer than numbers, and so few more that those which fit best fit all.
@pytest.mark.parametrize("width", [384, 24])
def test_noise_in_place_of_text_is_told_where_items_are_few(rolling, champion, width):
    examples = Examples.build(rolling.log, rolling.folds[-1].test_start, 40, ACTIONS, 10, 0.0)
    noise = np.random.default_rng(0).normal(size=(40, width)).astype(np.float32)
    with pytest.raises(TrainingError, match=r"encoder|not those that the model was trained on"):
        start_from(champion.model.scorer, replace(rolling, text=noise), examples)


def test_few_items_are_enough_where_the_encoder_is_known_to_be_the_same(rolling, champion):
    scorer, wide = champion.model.scorer, widened(rolling, 384)
    examples = Examples.build(rolling.log, rolling.folds[-1].test_start, 40, ACTIONS, 10, 0.0)
    with pytest.raises(TrainingError, match=r"37 items with text vectors.*386 are needed"):
        start_from(scorer, wide, examples)
    told = start_from(scorer, wide, examples, same_encoder=True).module.tower.text_IV
    assert torch.allclose(
        told, start_from(scorer, rolling, examples).module.tower.text_IV, atol=0.1
    )


@pytest.mark.parametrize(
    "inputs",
    [{"attribute_width": 4, "vectors": ["picture"], "vector_width": 3}, {"id_buckets": 64}],
)
def test_further_inputs_of_the_model_are_carried_along(rolling, champion, settings, inputs):
    fold, tree = rolling.folds[0], settings(epochs=1).model_dump(mode="json")
    tree["model"] |= inputs
    config = parse(tree, "test")
    pictures = np.random.default_rng(0).normal(size=(40, 5))
    column = pa.array(
        [[("picture", row.tolist())] for row in pictures],
        pa.map_(pa.string(), pa.list_(pa.float32())),
    )
    told = replace(rolling, items=rolling.items.append_column("vectors", column))
    trained = train(without(told, list(rolling.catalogue.ids[-NEW:]), fold.test_end), fold, config)
    reigning = replace(champion, model=trained.model)
    examples = Examples.build(rolling.log, fold.test_start, 40, ACTIONS, 10, 0.0)
    scorer = trained.model.scorer
    start = start_from(scorer, told, examples)
    ours, theirs = start.module.tower, scorer.module.tower
    assert torch.equal(ours.text_IV[:-NEW], theirs.text_IV)
    assert ours.text_IV[-NEW:].abs().sum(dim=1).min() > 0
    known = examples.known[:-NEW]
    with torch.no_grad():
        before, after = theirs()[known], ours()[:-NEW][known]
    assert torch.allclose(before, after, atol=1e-5)
    found = refresh(told, rolling.folds[-1], reigning, config)
    assert np.isfinite(found.trained.curve[-1].item_loss)
    if "id_buckets" in inputs:
        alone = parse(tree | {"refresh": {"method": "lora", "items": "new"}}, "test")
        with pytest.raises(TrainingError, match="ids are hashed"):
            refresh(told, rolling.folds[-1], reigning, alone)
        every = parse(tree | {"refresh": {"method": "lora", "items": "all"}}, "test")
        adapted = refresh(told, rolling.folds[-1], reigning, every)
        assert adapted.adapted is not None
        had, has = theirs.id_ID, adapted.adapted.tower.id_ID
        assert not torch.equal(had, has)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("nothing new", "nothing that could be learned happened"),
        ("no transformer", "is no Transformer"),
        ("other types", "knows the event types"),
        ("other width", r"model\.width 16, not 32"),
        ("other vectors", "not those that the model was trained on"),
        ("other encoder", "by this one, the data set's vectors are by made up"),
    ],
)
def test_what_a_refresh_cannot_go_on_from_is_said(rolling, champion, changed, what, told):
    config, dataset = changed(), rolling
    if what == "nothing new":
        champion = replace(champion, seen_until=rolling.folds[-1].test_start)
    elif what == "no transformer":
        scorer = Popularity(rolling.catalogue, np.ones(40, np.float32))
        champion = replace(champion, model=Model(scorer, rolling.titles, ACTIONS, 10))
    elif what == "other types":
        other = ACTIONS.model_copy(update={"types": ("impression", "click", "order")})
        champion = replace(champion, model=replace(champion.model, actions=other))
    elif what == "other width":
        config = config.model_copy(update={"model": config.model.model_copy(update={"width": 32})})
    elif what == "other encoder":
        champion = replace(champion, encoder="this one")
    else:
        noise = np.random.default_rng(0).normal(size=rolling.text.shape).astype(np.float32)
        dataset = replace(rolling, text=noise)
    with pytest.raises(TrainingError, match=told):
        refresh(dataset, rolling.folds[-1], champion, config)


def test_events_of_a_log_are_where_they_were(rolling):
    # `without` must not disturb the order that a log has, or the tests above say nothing.
    young = without(rolling, list(rolling.catalogue.ids[-NEW:]), rolling.folds[0].test_end)
    assert isinstance(young.log, EventLog)
    users = young.log.user_of_event
    assert ((np.diff(users) > 0) | (np.diff(young.log.times) >= 0)).all()
