"""What people without a history are shown: what is popular with everybody, or with their like.

A model that learned to continue histories says little about people who have none; what is popular
serves them better (docs/decisions/0018-the-predictor.md). The answer is part of the model version:
signed with it, and ranked by it in evaluation as in serving.

Shape letters: B histories, C of them empty, I items, G groups of people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recommender.features.sequences import Catalogue, Histories
from recommender.followed_took import FOLLOWED_TOOK
from recommender.scoring import Floats

if TYPE_CHECKING:
    from recommender.scoring import Scorer

_PRIOR = 100.0
"""Successes of everybody that weigh as much as those of a group."""

_PRIOR_FOLLOWED = 10.0
"""The same of those whom one person follows: they are few, and chosen."""


class ColdUsers:
    """Scores for people without a history.

    A group is everybody who shares one attribute (`country=DE`). The score of an item is what
    everybody thinks of it, and for each group that somebody is in the logarithm of how much more
    often the group takes it: log((n_gi + m p_i) / ((n_g + m) p_i)), with n the group's successes,
    p_i the item's share of everybody's and m a prior that keeps small groups near everybody
    (naive Bayes over attributes with Dirichlet smoothing; Manning et al. 2008, Introduction to
    Information Retrieval, §13.2 and §11.3.2).

    Args:
        basis: what the scores of everybody are: `popular` or `trend`.
        everybody_I: how much each item is taken, not negative, (I,).
        groups: `attribute=value`, G of them; none: everybody gets the same.
        counts_GI: successes of each group, (G, I).
        neighbours: the items, where those whom somebody follows are a group of theirs, too, told
            by the attribute `followed_took`; None: nobody is asked whom they follow.
    """

    def __init__(
        self,
        basis: str,
        everybody_I: Floats,
        groups: Sequence[str],
        counts_GI: Floats,
        neighbours: Catalogue | None = None,
    ) -> None:
        if counts_GI.shape != (len(groups), len(everybody_I)):
            raise ValueError(f"{counts_GI.shape} counts for {len(groups)} groups")
        self._basis = basis
        self._everybody_I = np.asarray(everybody_I, np.float32)
        self._groups = {name: row for row, name in enumerate(groups)}
        self._counts_GI = np.asarray(counts_GI, np.float32)
        self._neighbours = neighbours
        # A trace for items that nobody has taken, so that the logarithm is finite.
        smoothed_I = self._everybody_I + 1e-3 * (1 + self._everybody_I.mean())
        share_I = smoothed_I / smoothed_I.sum()
        total_G1 = self._counts_GI.sum(axis=1, keepdims=True)
        self._share_I = share_I
        self._base_I = np.log(share_I).astype(np.float32)
        lift_GI = (self._counts_GI + _PRIOR * share_I) / ((total_G1 + _PRIOR) * share_I)
        self._lift_GI = np.log(lift_GI).astype(np.float32)

    def scores(self, people: Sequence[Mapping[str, str] | None]) -> Floats:
        """Return what C people are shown, (C, I), higher is better."""
        scores_CI = np.repeat(self._base_I[None, :], len(people), axis=0)
        for row, person in enumerate(people):
            for group in self._of(person):
                scores_CI[row] += self._lift_GI[group]
            scores_CI[row] += self._lift_of(self._followed(person))
        return scores_CI

    def basis_of(self, person: Mapping[str, str] | None) -> str:
        """Return what a list is made from: `popular`, `trend`, `profile` or `social`."""
        if self._followed(person):
            return "social"
        return "profile" if self._of(person) else self._basis

    @property
    def reads_profiles(self) -> bool:
        """Whether it matters who somebody is."""
        return bool(self._groups) or self.reads_follows

    @property
    def reads_follows(self) -> bool:
        """Whether it matters what those whom somebody follows took."""
        return self._neighbours is not None

    def settings(self) -> dict[str, Any]:
        """Return what `restore` needs besides the weights, as plain JSON values."""
        told: dict[str, Any] = {"basis": self._basis, "groups": list(self._groups)}
        return told if self._neighbours is None else {**told, "social": True}

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the named arrays that `restore` needs."""
        return {"everybody": self._everybody_I, "groups": self._counts_GI}

    @classmethod
    def restore(
        cls, settings: dict[str, Any], weights: dict[str, NDArray[Any]], catalogue: Catalogue
    ) -> ColdUsers:
        """Make it again from what `settings` and `weights` returned, for these items."""
        return cls(
            str(settings["basis"]),
            weights["everybody"],
            settings["groups"],
            weights["groups"],
            catalogue if settings.get("social") else None,
        )

    def with_items(self, count: int) -> ColdUsers:
        """Return it with items at the end that nobody has taken yet."""
        return ColdUsers(
            self._basis,
            np.pad(self._everybody_I, (0, count)),
            list(self._groups),
            np.pad(self._counts_GI, ((0, 0), (0, count))),
            self._neighbours,
        )

    def _of(self, person: Mapping[str, str] | None) -> list[int]:
        known = [f"{name}={value}" for name, value in (person or {}).items()]
        return [self._groups[name] for name in known if name in self._groups]

    def _followed(self, person: Mapping[str, str] | None) -> dict[int, float]:
        """Return how many of those whom somebody follows took which rows."""
        told = (person or {}).get(FOLLOWED_TOOK)
        if self._neighbours is None or not told:
            return {}
        index = self._neighbours.index
        return {index[item]: float(n) for item, n in json.loads(told).items() if item in index}

    def _lift_of(self, taken: Mapping[int, float]) -> Floats:
        """Return the lift of items that a few followed people took, (I,)."""
        if not taken:
            return np.zeros(1, np.float32)
        counts_I = np.zeros(len(self._everybody_I))
        counts_I[list(taken)] = list(taken.values())
        prior_I = _PRIOR_FOLLOWED * self._share_I
        lift_I = (counts_I + prior_I) / ((counts_I.sum() + _PRIOR_FOLLOWED) * self._share_I)
        return np.asarray(np.log(lift_I), np.float32)


class Served:
    """A scorer as it is served: people without a history are answered by `ColdUsers`.

    Args:
        scorer: of people with a history.
        cold: of those without one.
    """

    def __init__(self, scorer: Scorer, cold: ColdUsers) -> None:
        self._scorer = scorer
        self._cold = cold

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        return self._scorer.catalogue

    def scores(self, histories: Histories) -> Floats:
        """Score every item for every history, (B, I)."""
        empty_C = np.flatnonzero(histories.lengths == 0)
        if len(empty_C) == len(histories):
            scores_BI = np.empty((len(histories), len(self.catalogue)), np.float32)
        else:
            # A copy: what a scorer returns may be its own, and we write into it.
            scores_BI = np.array(self._scorer.scores(histories), np.float32)
        if len(empty_C):
            people = histories.people or (None,) * len(histories)
            scores_BI[empty_C] = self._cold.scores([people[row] for row in empty_C])
        return scores_BI
