"""Deletion tests on a trained model: what an explanation names first is what the score stood on.

The same verdict is asked of explanations that are wrong (their weights are shuffled), which must
not pass: a test that any explanation passes would say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from tiny_world import tiny_config, tiny_dataset

from recommender.explain import explain, modalities
from recommender.explain.hidden import HiddenFrom
from recommender.explain.occlusion import occluded, scores_of
from recommender.features.sequences import Histories
from recommender.model.modalities import modalities_of
from recommender.model.scorer import TransformerScorer
from recommender.training.run import train

_DELETED = 2
_LISTED = 3
_DRAWN = 5

Lose = Callable[[np.ndarray], float]
"""Places of what is deleted to what the score loses by it."""


@dataclass(frozen=True)
class Case:
    """The explanation of one item: a weight for each thing, and what deleting things costs."""

    weights: np.ndarray
    lose: Lose


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[TransformerScorer, list[Histories]]:
    """A model that reads categories and brands beside the rest, and some people's histories."""
    data = tiny_dataset()
    config = tiny_config(tmp_path_factory.mktemp("workspace"), epochs=8)
    wide = config.model.model_copy(update={"attribute_width": 8})
    config = config.model_copy(update={"model": wide})
    scorer = train(data, data.folds[-1], config).model.scorer
    assert isinstance(scorer, TransformerScorer)
    log = data.log.of_types(config.actions.histories, config.actions)
    users = np.flatnonzero(np.diff(log.offsets) >= 8)
    ends = log.times[log.offsets[users + 1] - 1] + 60_000
    return scorer, [
        log.histories(np.array([user]), np.array([end]), 10)
        for user, end in zip(users, ends, strict=True)
    ]


def listed(scorer: TransformerScorer, history: Histories) -> np.ndarray:
    return np.argsort(-scorer.scores(history)[0])[:_LISTED].astype(np.int64)


def of_events(scorer: TransformerScorer, histories: list[Histories]) -> Iterator[Case]:
    for history in histories:
        items = listed(scorer, history)
        found = explain(scorer, history, items)
        for place in range(_LISTED):

            def lose(deleted: np.ndarray, history=history, item=items[place : place + 1]) -> float:
                keep = np.ones((2, len(history.items)), bool)
                keep[1, deleted] = False
                size = len(scorer.catalogue)
                full, without = scores_of(scorer, occluded(history, keep), item, size)[:, 0]
                return float(full - without)

            yield Case(found.weights[:, place], lose)


def of_modalities(scorer: TransformerScorer, histories: list[Histories]) -> Iterator[Case]:
    read = modalities_of(scorer.module, 2)
    for history in histories:
        items = listed(scorer, history)
        parts = modalities(scorer, history, items, 2).parts
        hidden = HiddenFrom(scorer, history, read)
        names = np.array(list(parts))
        for place, item in enumerate(items):

            def lose(deleted: np.ndarray, hidden=hidden, names=names, item=item) -> float:
                everything = frozenset(names)
                without = hidden.scores(everything - set(names[deleted]))
                return float((hidden.scores(everything) - without)[item])

            yield Case(np.array([part[place] for part in parts.values()]), lose)


def verdict(cases: list[Case], what: str) -> bool:
    """Say whether deleting what is named first costs far more than deleting at random."""
    rng = np.random.default_rng(0)
    named, drawn, won = [], [], []
    for case in cases:
        count = len(case.weights)
        lost = case.lose(np.argsort(-case.weights, kind="stable")[:_DELETED])
        others = [case.lose(rng.permutation(count)[:_DELETED]) for _ in range(_DRAWN)]
        named.append(lost)
        drawn.append(np.mean(others))
        won.append(np.mean(lost >= np.array(others)))
    print(
        f"\nscore lost by deleting {_DELETED} {what} of {len(cases)} lists: named first "
        f"{np.mean(named):.3f}, at random {np.mean(drawn):.3f}; won {np.mean(won):.0%}"
    )
    return bool(np.mean(named) > 2 * max(np.mean(drawn), 0) and np.mean(won) > 0.9)


def wrong(cases: list[Case]) -> list[Case]:
    """Return the same cases with explanations that say nothing: shuffled weights."""
    rng = np.random.default_rng(1)
    return [Case(rng.permutation(case.weights), case.lose) for case in cases]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [of_events, of_modalities])
def test_deleting_what_is_named_first_costs_far_more_than_deleting_at_random(
    trained: tuple[TransformerScorer, list[Histories]],
    kind: Callable[[TransformerScorer, list[Histories]], Iterator[Case]],
) -> None:
    cases = list(kind(*trained))
    assert len(cases) >= 60
    assert verdict(cases, kind.__name__[3:])
    assert not verdict(wrong(cases), f"{kind.__name__[3:]}, told wrongly,")
    # Nor if the things that speak against an item are told as what speaks for it.
    assert not verdict([Case(-case.weights, case.lose) for case in cases], "reversed")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_deleting_the_events_named_first_costs_more_than_deleting_the_latest(
    trained: tuple[TransformerScorer, list[Histories]],
) -> None:
    cases = list(of_events(*trained))
    named = [case.lose(np.argsort(-case.weights, kind="stable")[:_DELETED]) for case in cases]
    last = [case.lose(np.arange(len(case.weights))[-_DELETED:]) for case in cases]
    assert np.mean(named) > np.mean(last)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_modality_that_the_model_reads_is_named_and_the_large_ones_are_those_that_count(
    trained: tuple[TransformerScorer, list[Histories]],
) -> None:
    scorer, histories = trained
    read = [each.name for each in modalities_of(scorer.module, 2)]
    assert {"item_id", "text", "categories", "brand", "price", "action", "time"} < set(read)
    assert {"order", "request_time", "popularity", "repeats"} < set(read)
    lost = np.zeros(len(read))
    told = np.zeros(len(read))
    cases = list(of_modalities(scorer, histories))
    for case in cases:
        told += np.abs(case.weights)
        lost += np.abs([case.lose(np.array([place])) for place in range(len(read))])
    ranks = np.argsort(np.argsort(told)), np.argsort(np.argsort(lost))
    agreement = np.corrcoef(*ranks)[0, 1]
    print(dict(zip(read, np.round(told / len(cases), 3).tolist(), strict=True)), agreement)
    assert agreement > 0.7
