"""Ranking as evaluation, batch scoring and the endpoint do it."""

from __future__ import annotations

import numpy as np

from recommender.features.sequences import Histories
from recommender.ranking import rank


class Noted:
    """Scores items by their number; notes what it was asked with."""

    def __init__(self, items: int, bad: int | None = None) -> None:
        self.row = np.arange(items, dtype=np.float32)
        if bad is not None:
            self.row[bad] = np.nan
        self.asked: list[list[int]] = []
        self.table = np.empty((0, items), np.float32)

    def scores(self, histories: Histories) -> np.ndarray:
        self.asked += [histories.slice(b, b + 1).items.tolist() for b in range(len(histories))]
        self.table = np.repeat(self.row[None], len(histories), axis=0)
        return self.table


def histories(*rows: list[int]) -> Histories:
    made = [(row, [1] * len(row), list(range(len(row)))) for row in rows]
    return Histories.of(made, [99] * len(rows))


def test_what_the_model_does_not_read_is_still_left_out() -> None:
    scorer = Noted(6)
    found = rank(scorer, histories([5, 4, 3], []), 2, reads=1, exclude_seen=True)
    assert scorer.asked == [[3], []]
    assert found.items.tolist() == [[2, 1], [5, 4]]


def test_seen_items_may_be_shown_again_where_that_is_meant() -> None:
    found = rank(Noted(6), histories([5]), 2, reads=9, exclude_seen=False)
    assert found.items.tolist() == [[5, 4]]


def test_unwanted_items_are_unwanted_by_one_history_only() -> None:
    found = rank(
        Noted(6), histories([], []), 2, reads=9, exclude_seen=True, unwanted=[(0, 5), (0, 4)]
    )
    assert found.items.tolist() == [[3, 2], [5, 4]]


def test_scores_that_are_no_numbers_are_counted_and_ranked_last() -> None:
    found = rank(Noted(3, bad=2), histories([], []), 3, reads=9, exclude_seen=True)
    assert found.nonfinite == 2
    assert found.items.tolist() == [[1, 0, 2]] * 2
    assert found.scores[0, -1] == -np.inf


def test_the_scorers_own_array_is_not_written_into() -> None:
    scorer = Noted(3)
    rank(scorer, histories([1]), 2, reads=9, exclude_seen=True)
    assert np.isfinite(scorer.table).all()


def test_recent_keeps_the_end_of_each_history() -> None:
    cut = histories([1, 2, 3], [], [4]).recent(2)
    assert cut.items.tolist() == [2, 3, 4]
    assert cut.offsets.tolist() == [0, 2, 2, 3]
    assert cut.times.tolist() == [1, 2, 0]
