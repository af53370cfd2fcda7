"""How well a head tells what people will do from what they won't: click, conversion.

AUC is the probability that a positive is scored above a negative, ties counting half (Hanley &
McNeil 1982). The user-grouped AUC takes it within each person and averages by impressions: it
doesn't reward knowing who clicks a lot (Zhu et al. 2017, Optimized cost per click in Taobao).

Shape letters: N impressions, U people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_SMALLEST = float(np.finfo(np.float64).eps)


def auc(labels_N: Bools, scores_N: Doubles) -> float:
    """Return the area under the ROC curve; NaN where there is only one class."""
    grouped = user_auc(np.zeros(len(labels_N), np.int64), labels_N, scores_N)
    return grouped.value


@dataclass(frozen=True)
class UserAUC:
    """AUC within people.

    Attributes:
        value: the mean over people with both classes, weighted by impressions; NaN without any.
        users: rows of these people, (V,).
        each: their own AUC, (V,).
        weights: their impressions, (V,).
        one_class: people who only took, or only refused: nothing can be told from them.
    """

    value: float
    users: Ints
    each: Doubles
    weights: Ints
    one_class: int


def user_auc(users_N: Ints, labels_N: Bools, scores_N: Doubles) -> UserAUC:
    """Return the user-grouped AUC.

    Args:
        users_N: whose each impression is, as rows 0 …
        labels_N: whether it was taken.
        scores_N: of the model; only their order counts.

    Raises:
        ValueError: a score is NaN.
    """
    if np.isnan(scores_N).any():
        raise ValueError(f"{np.isnan(scores_N).sum()} scores are NaN")
    order = np.lexsort((scores_N, users_N))
    users, labels, scores = users_N[order], labels_N[order], scores_N[order]
    ranks = _tied_ranks(users, scores)
    count = int(users_N.max()) + 1 if len(users_N) else 0
    total_U = np.bincount(users, minlength=count)
    positive_U = np.bincount(users, labels, minlength=count)
    rank_sum_U = np.bincount(users, ranks * labels, minlength=count)
    negative_U = total_U - positive_U
    both = (positive_U > 0) & (negative_U > 0)
    above_U = rank_sum_U - positive_U * (positive_U + 1) / 2
    each = above_U[both] / (positive_U[both] * negative_U[both])
    weights = total_U[both]
    value = float(np.average(each, weights=weights)) if len(each) else float("nan")
    one_class = int(((total_U > 0) & ~both).sum())
    return UserAUC(value, np.flatnonzero(both), each, weights, one_class)


def mean_user_auc(users_N: Ints, reached_N: Ints, chances_NA: Doubles) -> float:
    """Return the mean over event types of the user-grouped AUC; NaN where nobody tells of any.

    Of each type but the least, whether a case goes at least so far.

    Args:
        users_N: whose each case is, as rows 0 …
        reached_N: code of the farthest event type, from 1.
        chances_NA: how likely each of A event types is the farthest, in their order.
    """
    areas = []
    for code in range(2, chances_NA.shape[1] + 1):
        grouped = user_auc(users_N, reached_N >= code, chances_NA[:, code - 1 :].sum(axis=1))
        if len(grouped.users):
            areas.append(grouped.value)
    return float(np.mean(areas)) if areas else float("nan")


def log_loss(labels_N: Bools, probabilities_N: Doubles) -> float:
    """Return the mean of −log p of what happened, natural logarithm; p is kept off 0 and 1."""
    p = np.clip(probabilities_N, _SMALLEST, 1 - _SMALLEST)
    return float(-np.where(labels_N, np.log(p), np.log1p(-p)).mean())


@dataclass(frozen=True)
class Confusion:
    """Decisions against what happened; ratios are NaN where they are not defined."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def accuracy(self) -> float:
        """Right decisions of all."""
        right = self.true_positives + self.true_negatives
        return _ratio(right, right + self.false_positives + self.false_negatives)

    @property
    def precision(self) -> float:
        """What was taken, of what was predicted to be."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """What was predicted, of what was taken."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        twice = 2 * self.true_positives
        return _ratio(twice, twice + self.false_positives + self.false_negatives)


def confusion(labels_N: Bools, probabilities_N: Doubles, threshold: float = 0.5) -> Confusion:
    """Count decisions: predicted to be taken from `threshold` on."""
    decided = probabilities_N >= threshold
    return Confusion(
        int((decided & labels_N).sum()),
        int((decided & ~labels_N).sum()),
        int((~decided & labels_N).sum()),
        int((~decided & ~labels_N).sum()),
    )


def _tied_ranks(groups: Ints, scores: Doubles) -> Doubles:
    """Return ranks within groups, from 1, ties sharing their mean; both arrays are sorted."""
    count = len(groups)
    if not count:
        return np.empty(0)
    new_group = np.concatenate([[True], groups[1:] != groups[:-1]])
    new_value = new_group | np.concatenate([[True], scores[1:] != scores[:-1]])
    starts = np.flatnonzero(new_value)
    sizes = np.diff(np.append(starts, count))
    first_of_group = np.flatnonzero(new_group)[np.cumsum(new_group) - 1]
    middle = starts + (sizes - 1) / 2
    return np.asarray(np.repeat(middle, sizes) - first_of_group + 1)


def _ratio(above: int, below: int) -> float:
    return above / below if below else float("nan")
