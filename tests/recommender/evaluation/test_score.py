"""Scoring models over the frozen set, and a champion that was made for another catalogue."""

from __future__ import annotations

import math

import numpy as np
import pytest
from evaluation_world import Fixed, LastItem, config_of, dataset_of

from recommender.errors import EvaluationError
from recommender.evaluation.champion import Aligned
from recommender.evaluation.freeze import freeze
from recommender.evaluation.frozen import EvaluationSet
from recommender.evaluation.metrics import metric_names
from recommender.evaluation.score import Scored, score
from recommender.features.sequences import Catalogue, Histories
from recommender.split import Fold

FOLD = Fold(validation_start=50, test_start=100, test_end=200)
ROWS = [
    ("u", "a", "buy", 10),
    ("u", "b", "buy", 20),
    ("u", "c", "buy", 110),
    ("u", "e", "buy", 120),
    ("v", "d", "buy", 130),
]
KS = (1, 2, 10)


def frozen(*, exclude: bool = False) -> EvaluationSet:
    config = config_of(exclude_seen=exclude)
    return freeze(dataset_of(ROWS, config, [FOLD]), config.actions, 10, 10)


def scored(
    ranker, requests: EvaluationSet, *, history: int = 10, block_bytes: int = 10**6
) -> Scored:
    rows = requests.of_fold(0)
    return score(ranker, history, requests, rows, KS, label="test", block_bytes=block_bytes)


def metric(found: Scored, name: str) -> list[float]:
    return found.metrics[:, metric_names(KS).index(name)].tolist()


def test_a_list_is_measured_by_hand() -> None:
    found = scored(Fixed("abcdef", [6, 5, 4, 3, 2, 1]), frozen())  # ranks a, b, c, d, e, f
    assert metric(found, "hr@2") == [0, 0, 0]
    assert metric(found, "mrr@10") == pytest.approx([1 / 3, 1 / 5, 1 / 4])
    assert metric(found, "ndcg@10") == pytest.approx([1 / math.log2(n + 1) for n in (3, 5, 4)])


def test_seen_items_are_left_out_of_the_ranking() -> None:
    found = scored(Fixed("abcdef", [6, 5, 4, 3, 2, 1]), frozen(exclude=True))
    # u has seen a and b at 110, and c too at 120; v has seen nothing
    assert metric(found, "mrr@10") == pytest.approx([1, 1 / 2, 1 / 4])


def test_ties_go_to_the_first_item_of_the_catalogue_every_time() -> None:
    found = [scored(Fixed("abcdef", [0] * 6), frozen()) for _ in range(2)]
    assert metric(found[0], "mrr@10") == pytest.approx([1 / 3, 1 / 5, 1 / 4])
    assert found[0].fingerprint == found[1].fingerprint


def test_blocks_of_any_size_give_the_same() -> None:
    whole = scored(LastItem("abcdef"), frozen())
    for block_bytes in (1, 6 * 24 * 2):
        parts = scored(LastItem("abcdef"), frozen(), block_bytes=block_bytes)
        np.testing.assert_array_equal(parts.metrics, whole.metrics)
        assert parts.fingerprint == whole.fingerprint


def test_not_a_number_is_counted_and_ranked_last() -> None:
    found = scored(Fixed("abcdef", [math.nan, 5, math.inf, 3, 2, -math.inf]), frozen())
    assert found.nonfinite == 3 * 3
    assert metric(found, "mrr@10") == pytest.approx([0, 1 / 3, 1 / 2])  # c can't be recommended


def test_a_scorer_may_hand_out_the_same_array_twice() -> None:
    class Shared(Fixed):
        kept = np.tile(np.arange(6, 0, -1).astype(np.float32), (3, 1))

        def scores(self, histories: Histories) -> np.ndarray:
            return self.kept[: len(histories)]

    first, second = (scored(Shared("abcdef", [0] * 6), frozen(exclude=True)) for _ in range(2))
    np.testing.assert_array_equal(first.metrics, second.metrics)


def test_the_scorer_sees_as_much_history_as_it_will_when_served() -> None:
    scorer = LastItem("abcdef")
    scored(scorer, frozen(), history=2)
    assert scorer.lengths == [2, 2, 0]


def test_recent_keeps_the_newest_events_of_each_history() -> None:
    histories = Histories.of(
        [([1, 2, 3], [1, 1, 1], [1, 2, 3]), ([], [], []), ([4], [1], [9])], [10] * 3
    )
    kept = histories.recent(2)
    assert kept.items.tolist() == [2, 3, 4]
    assert kept.times.tolist() == [2, 3, 9]
    assert kept.lengths.tolist() == [2, 0, 1]


def test_a_model_of_another_catalogue_is_refused() -> None:
    with pytest.raises(EvaluationError, match="ranks 5 items"):
        scored(Fixed("abcde", [0] * 5), frozen())


def test_a_fold_without_requests_gives_no_rows() -> None:
    requests = frozen()
    found = score(Fixed("abcdef", [0] * 6), 10, requests, requests.of_fold(3), KS, label="none")
    assert found.metrics.shape == (0, len(metric_names(KS)))
    assert found.nonfinite == 0


def test_an_aligned_champion_ranks_by_item_id_and_what_it_lacks_last() -> None:
    champion = Fixed("edcba", [1, 2, 3, 4, -7])  # has no f
    aligned = Aligned(champion, Catalogue(tuple("abcdef")))
    scores = aligned.scores(Histories.of([([0], [1], [1])], now=[5]))[0]
    assert scores[:5].tolist() == [-7, 4, 3, 2, 1]
    assert scores[5] < scores[:5].min()
    assert np.isfinite(scores).all()
    assert aligned.missing == 1


def test_an_aligned_champion_reads_histories_in_its_own_rows_without_unknown_items() -> None:
    champion = LastItem("edcba")
    aligned = Aligned(champion, Catalogue(tuple("abcdef")))
    histories = Histories.of(
        [([2, 5], [1, 1], [1, 2]), ([5], [1], [1]), ([0, 3], [1, 1], [1, 2])], [9] * 3
    )
    scores = aligned.scores(histories)
    assert champion.lengths == [1, 0, 2]
    assert scores.argmax(axis=1).tolist()[0] == 1  # after c comes b in its order
    assert scores.argmax(axis=1).tolist()[2] == 2  # after d comes c


def test_an_aligned_champion_of_the_same_catalogue_is_the_champion_itself() -> None:
    requests = frozen()
    plain = scored(LastItem("abcdef"), requests)
    aligned = scored(Aligned(LastItem("abcdef"), requests.catalogue), requests)
    assert aligned.fingerprint == plain.fingerprint
