"""The whole measurement: rivals per fold, the champion re-scored, nothing from the future."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from evaluation_world import Row, config_of, dataset_of, popularity_model
from scipy.stats import ttest_rel
from statsmodels.stats.multitest import multipletests

from recommender.artifact import Model
from recommender.baselines.rivals import fit
from recommender.config import Config
from recommender.errors import EvaluationError
from recommender.evaluation.assess import Champion, assess
from recommender.evaluation.evidence import Evidence, Interval
from recommender.evaluation.freeze import freeze
from recommender.evaluation.frozen import EvaluationSet
from recommender.evaluation.score import score
from recommender.features.dataset import Dataset
from recommender.split import Fold

ITEMS = [f"i{n:02d}" for n in range(12)]
FOLDS = (Fold(300, 400, 700), Fold(600, 700, 1001))
CONFIG = config_of(evaluation={"resamples": 200, "k": [5, 10], "requests_per_user": 4})


def rows_of(users: int = 40, seed: int = 3, *, last: int = 1000) -> list[Row]:
    """Users who walk through the catalogue in order, now and then elsewhere."""
    random = np.random.default_rng(seed)
    rows: list[Row] = []
    for user in range(users):
        item = int(random.integers(12))
        for time in np.sort(random.choice(last, 12, replace=False)):
            item = (item + 1) % 12 if random.random() < 0.7 else int(random.integers(12))
            rows.append((f"u{user:02d}", ITEMS[item], "buy", int(time)))
    return rows


def world(rows: list[Row] | None = None, folds=FOLDS[1:], config: Config = CONFIG) -> Dataset:
    return dataset_of(rows or rows_of(), config, folds, ITEMS)


def knn(dataset: Dataset, config: Config = CONFIG) -> list[Model]:
    return [fit("item-knn", dataset, fold, config) for fold in dataset.folds]


def test_systems_and_comparisons_stand_on_the_same_users() -> None:
    dataset = world()
    found = assess(dataset, knn(dataset), CONFIG, run_id="r", candidate_version="m-1").evidence
    assert [system.name for system in found.systems] == ["candidate", *CONFIG.evaluation.rivals]
    assert [c.rival for c in found.comparisons] == list(CONFIG.evaluation.rivals)
    assert {s.users for s in found.systems} == {found.evaluation_set.users}
    ours = found.system("candidate").metrics["ndcg@10"]
    for compared in found.comparisons:
        theirs = found.system(compared.rival).metrics["ndcg@10"]
        assert compared.candidate["ndcg@10"] == ours
        assert compared.rival_metrics["ndcg@10"] == theirs
        difference = compared.difference["ndcg@10"]
        assert difference.estimate == pytest.approx(ours.estimate - theirs.estimate, abs=1e-8)
        assert difference.low <= difference.estimate <= difference.high


@pytest.mark.slow
def test_every_metric_of_every_comparison_has_an_adjusted_p_value() -> None:
    dataset = world()
    assessed = assess(dataset, knn(dataset), CONFIG, champion=champion_of(dataset))
    found = assessed.evidence
    for compared in found.comparisons:
        assert set(compared.p) == set(compared.adjusted) == set(found.metrics)
        plain = np.array([compared.p[name] for name in found.metrics])
        adjusted = [compared.adjusted[name] for name in found.metrics]
        assert adjusted == pytest.approx(multipletests(plain, method="holm")[1], abs=1e-8)
    ours, theirs = (
        assessed.users[f"{name}/ndcg@10"].to_numpy() for name in ("candidate", "popularity")
    )
    told = found.comparison("popularity").p["ndcg@10"]
    assert told == pytest.approx(ttest_rel(ours, theirs).pvalue, abs=1e-8)


def test_the_candidate_that_is_a_rival_ties_with_it_exactly() -> None:
    dataset = world()
    same = assess(dataset, knn(dataset), CONFIG).evidence.comparison("item-knn")
    for interval in same.difference.values():
        assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)


def test_a_user_in_several_folds_stays_one_and_averages_over_all_requests() -> None:
    dataset = world(folds=FOLDS)
    found = assess(dataset, knn(dataset), CONFIG)
    evidence, requests = found.evidence, found.requests
    both = set(requests.users[requests.of_fold(0)]) & set(requests.users[requests.of_fold(1)])
    assert both
    assert evidence.evaluation_set.users == len(found.users) == len(set(requests.users.tolist()))
    assert sum(fold.requests for fold in evidence.evaluation_set.folds) == len(requests)

    user = min(both)
    values = []
    for n, model in enumerate(knn(dataset)):
        rows = requests.of_fold(n)
        scored = score(model.scorer, model.history, requests, rows, (10,), label="check")
        values += scored.metrics[requests.users[rows] == user, 0].tolist()
    row = found.users.to_pylist()[user]
    assert row["requests"] == len(values)
    assert row["candidate/ndcg@10"] == pytest.approx(np.mean(values))
    assert found.users["candidate/ndcg@10"].to_numpy().mean() == pytest.approx(
        evidence.system("candidate").metrics["ndcg@10"].estimate, abs=1e-8
    )


def test_every_fold_has_rivals_that_saw_nothing_from_its_cut_on() -> None:
    rows, dataset = rows_of(), world(folds=FOLDS)
    for fold in FOLDS:
        past = world([row for row in rows if row[3] < fold.test_start], folds=FOLDS)
        for rival in CONFIG.evaluation.rivals:
            seen, blind = (fit(rival, data, fold, CONFIG) for data in (dataset, past))
            for name, array in blind.scorer.weights().items():
                np.testing.assert_array_equal(seen.scorer.weights()[name], array)


def test_events_planted_after_the_cut_change_no_earlier_score() -> None:
    rows = rows_of()
    moment = 850
    planted = [(f"u{n:02d}", "i00", "buy", moment) for n in range(40)]
    planted += [(f"x{n}", "i01", "buy", moment + n) for n in range(9)]
    without, having = world(rows), world([*rows, *planted])
    for rival in CONFIG.evaluation.rivals:
        found = []
        for data in (without, having):
            requests = freeze(data, CONFIG.actions, 200, 100)
            model = fit(rival, data, data.folds[-1], CONFIG)
            early = np.nonzero(requests.times < moment)[0]
            scored = score(model.scorer, model.history, requests, early, (10,), label=rival)
            found.append((named(requests, early), scored))
        assert found[0][0] == found[1][0]
        assert len(found[0][0]) > 20
        np.testing.assert_array_equal(found[0][1].top, found[1][1].top)
        np.testing.assert_array_equal(found[0][1].metrics, found[1][1].metrics)


def named(requests: EvaluationSet, rows: np.ndarray) -> list[tuple[str, int]]:
    users = [requests.log.users[user] for user in requests.users[rows]]
    return list(zip(users, requests.times[rows].tolist(), strict=True))


def figures(metrics: dict[str, Interval]) -> np.ndarray:
    """Return all estimates and ends, to be compared up to the last digit that is kept."""
    return np.array([list(interval.model_dump().values()) for interval in metrics.values()])


def champion_of(dataset: Dataset, rival: str = "popularity", **changes) -> Champion:
    model = fit(rival, dataset, dataset.folds[-1], CONFIG)
    given = {"version": "m-c", "model": model, "test_start": dataset.folds[-1].test_start}
    return Champion(**{**given, **changes})


def test_the_champion_is_re_scored_on_the_last_folds_users_only() -> None:
    dataset = world(folds=FOLDS)
    found = assess(dataset, knn(dataset), CONFIG, champion=champion_of(dataset)).evidence
    duel = found.comparison("champion")
    assert duel.users == found.evaluation_set.folds[-1].users
    assert duel.users < found.evaluation_set.users
    alone = assess(world(), knn(world()), CONFIG).evidence  # the last fold by itself
    for ours, theirs in ((duel.candidate, "candidate"), (duel.rival_metrics, "popularity")):
        np.testing.assert_allclose(figures(ours), figures(alone.system(theirs).metrics), atol=2e-9)
    assert found.champion.identical is None
    assert not found.champion.saw_the_test


def test_a_champion_trained_past_our_cut_is_said_to_be_favoured() -> None:
    dataset = world()
    for test_start, favoured in ((FOLDS[1].test_start, False), (FOLDS[1].test_start + 1, True)):
        later = champion_of(dataset, test_start=test_start)
        found = assess(dataset, knn(dataset), CONFIG, champion=later).evidence
        assert found.champion.saw_the_test is favoured


def test_the_champion_again_is_recognised_by_its_version_or_by_its_lists() -> None:
    dataset = world()
    same = champion_of(dataset, "item-knn")
    for version, how in (("m-c", "bytes"), ("m-other", "lists")):
        found = assess(
            dataset, knn(dataset), CONFIG, candidate_version=version, champion=same
        ).evidence
        assert found.champion.identical == how


def test_a_champion_of_another_catalogue_is_aligned_and_what_it_lacks_is_counted() -> None:
    dataset = world()
    known = [row for row in rows_of() if row[1] != "i11"]
    other = dataset_of(known, CONFIG, FOLDS[1:], [*reversed(ITEMS[:11]), "gone"])
    model = popularity_model(other, CONFIG, range(12, 0, -1))
    reigning = Champion("m-c", model, 0)
    found = assess(dataset, knn(dataset), CONFIG, champion=reigning).evidence
    assert found.champion.missing_items == 1
    mirrored = popularity_model(dataset, CONFIG, [*range(1, 12), 0])
    expected = assess(dataset, [mirrored], CONFIG).evidence.system("candidate").metrics
    ours = found.system("champion").metrics
    np.testing.assert_allclose(figures(ours), figures(expected), atol=2e-9)


def test_too_few_models_for_the_folds_are_refused() -> None:
    dataset = world(folds=FOLDS)
    with pytest.raises(EvaluationError, match="1 models for 2 folds"):
        assess(dataset, knn(dataset)[:1], CONFIG)


def test_the_same_input_and_seed_give_the_same_evidence() -> None:
    dataset = world()
    one, two = (assess(dataset, knn(dataset), CONFIG).evidence for _ in range(2))
    assert timeless(one) == timeless(two)


def timeless(evidence: Evidence) -> dict[str, Any]:
    """Return the evidence but for the time that a request took: a clock reads differently."""
    told: dict[str, Any] = evidence.model_dump()
    assert told["findings"]["budget"].pop("milliseconds") > 0
    return told


def test_one_user_and_one_item_are_measured_without_a_crash() -> None:
    rows = [("u", "a", "buy", time) for time in (1, 50, 110, 120)]
    dataset = dataset_of(rows, CONFIG, [Fold(40, 100, 200)], ["a"])
    found = assess(dataset, knn(dataset), CONFIG).evidence
    assert found.evaluation_set.users == 1
    assert found.comparison("popularity").detectable["ndcg@10"] is None
