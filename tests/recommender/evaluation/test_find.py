"""What is found beside the means, on a small shop whose figures can be counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from evaluation_world import config_of, dataset_of

from recommender.artifact import Model
from recommender.baselines.popularity import Popularity
from recommender.evaluation.assess import assess
from recommender.evaluation.findings import Findings
from recommender.features.language import Language
from recommender.features.sequences import Catalogue, Exposures
from recommender.split import Fold

HOUR = 3_600_000
FOLD = Fold(900 * HOUR, 1000 * HOUR, 2000 * HOUR)
ITEMS = "abcdef"


def candidate(config) -> Model:
    counts = np.array([0, 0, 0, 3, 2, 1], np.float32)
    return Model(Popularity(Catalogue(tuple(ITEMS)), counts), tuple(ITEMS), config.actions, 50)


def _rows():
    rows = []
    for user in range(60):
        name = f"u{user:02d}"
        rows += [(name, ITEMS[user % 3], "buy", (400 + user) * HOUR)]
        rows += [(name, "d", "view", (1001 + user) * HOUR)]
        rows += [(name, ITEMS[3 + user % 3], "buy", (1100 + user) * HOUR)]
    return [*rows, ("zed", "d", "buy", 1500 * HOUR)]


@pytest.fixture(scope="module")
def world():
    config = config_of(
        evaluation={
            "rivals": ["popularity"],
            "gate": {"must_beat": ["popularity"], "must_match": []},
            "slices": {"attributes": ["town"], "minimum_users": 10},
            "resamples": 200,
            "backtest": None,
        }
    )
    dataset = dataset_of(_rows(), config, [FOLD], items=ITEMS)
    towns = ["Ulm" if n % 2 else "Bern" for n in range(61)]
    people = pa.table({"user": pa.array(dataset.log.users), "town": towns})
    shown = np.where(dataset.log.actions == 1, 1, 0).astype(np.int32)
    log = replace(dataset.log, exposures=Exposures(shown, np.full(len(shown), 0.25)))
    return config, replace(dataset, log=log, attributes=people)


@pytest.fixture(scope="module")
def found(world) -> Findings:
    config, dataset = world
    evidence = assess(dataset, [candidate(config)], config).evidence
    assert evidence.findings is not None
    return evidence.findings


def test_groups_add_up_and_a_family_of_one_is_left_out(found: Findings) -> None:
    families = {fact.family for fact in found.slices}
    assert "town" in families
    for family in families - {"popularity of the item"}:
        assert sum(fact.requests for fact in found.slices if fact.family == family) == 61
    assert "brand" not in families


def test_a_group_of_nobody_is_told_as_one(found: Findings) -> None:
    empty = [fact for fact in found.slices if not fact.users]
    assert ("last seen", "within a day") in {(fact.family, fact.name) for fact in empty}
    assert all(fact.candidate is None and not fact.judged for fact in empty)


def test_groups_of_people_are_named_and_judged_only_if_they_are_large(found: Findings) -> None:
    towns = {fact.name: fact for fact in found.slices if fact.family == "town"}
    assert {name: fact.users for name, fact in towns.items()} == {"Bern": 31, "Ulm": 30}
    assert all(fact.judged for fact in towns.values())
    assert found.compared_with == "popularity"
    assert [gap.family for gap in found.gaps] == ["town"]


def test_lists_are_described_for_every_system(found: Findings) -> None:
    lists = {each.system: each for each in found.lists}
    assert set(lists) == {"candidate", "popularity"}
    assert lists["candidate"].coverage == 1.0  # ten places, six items


def test_the_log_tells_what_the_candidate_would_have_earned_and_whether_it_can(
    found: Findings,
) -> None:
    logged = found.off_policy
    assert logged is not None
    assert (logged.impressions, logged.users, logged.rewards) == (60, 60, 0)
    assert logged.logged.estimate == 0
    assert any("60 people; 500 are asked for" in each for each in logged.shortcomings)


def test_a_log_without_propensities_says_nothing_of_other_policies(world) -> None:
    config, dataset = world
    bare = replace(dataset, log=replace(dataset.log, exposures=None))
    model = candidate(config)
    assert assess(bare, [model], config).evidence.findings.off_policy is None


def test_a_language_that_the_encoder_cannot_read_is_not_judged_by(world) -> None:
    config, dataset = world
    titles = pa.array(["red scarf", "blue hat", "羊毛围巾", "雨伞", "green boot", "grey sock"])
    items = dataset.items.set_column(
        dataset.items.column_names.index("title"), dataset.items.schema.field("title"), titles
    )
    unread = (Language("latin", 4, 2 / 3, 0.0), Language("chinese", 2, 1 / 3, 0.6))
    model = candidate(config)
    for languages, names in ((unread, []), ((), ["chinese", "latin"])):
        changed = replace(dataset, items=items, languages=languages)
        slices = assess(changed, [model], config).evidence.findings.slices
        told = sorted(fact.name for fact in slices if fact.family == "language")
        assert [name for name in told if name in names] == names
        assert ("chinese" in told) == (not languages)


def test_it_costs_what_it_weighs(found: Findings) -> None:
    assert found.budget is not None
    assert found.budget.milliseconds >= 0
