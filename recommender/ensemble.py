"""Several systems as one: their rankings are fused by reciprocal rank.

An item's score is the sum over the members of weight / (constant + its place in the member's list)
(Cormack, Clarke and Büttcher 2009, Reciprocal Rank Fusion, SIGIR). Places can be added where scores
can't: each member's are on a scale of its own.

Shape letters: B histories, I items of the catalogue, K items recommended, A event types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from recommender.artifact import Model, restore, service_of
from recommender.baselines import rivals
from recommender.config import Config
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, Histories
from recommender.scoring import (
    ActionModel,
    Floats,
    ReadsMore,
    Scorer,
    ValueModel,
    learned_numbers,
)
from recommender.split import Fold

if TYPE_CHECKING:
    from recommender.evaluation.score import Ranker

UNIFIED = "unified"


@dataclass(frozen=True)
class Member:
    """A system of an ensemble.

    Attributes:
        name: unlike any other member's.
        scorer: ranks the same catalogue as every other member's.
        weight: of its list, above nought.
        reads: most recent events that it reads.
    """

    name: str
    scorer: Scorer
    weight: float
    reads: int


class Ensemble:
    """Ranks by the fused places of its members' lists.

    Args:
        members: the first tells what people do with items.
        constant: added to every place, above nought.
        skips_seen: whether items of a history take no place in the lists, because nobody is
            recommended them again. They get a place between those of the others, so that they can
            still be put in order when they are asked for.

    Raises:
        ValueError: no member, a name that occurs twice, a weight or constant that is not above
            nought, different catalogues, or a first member that says nothing of actions.
    """

    kind: ClassVar[str] = "ensemble"

    def __init__(self, members: Sequence[Member], constant: float, skips_seen: bool) -> None:
        if not members or len({each.name for each in members}) != len(members):
            raise ValueError("an ensemble needs members with different names")
        if constant <= 0 or any(each.weight <= 0 for each in members):
            raise ValueError("the weights and the constant of an ensemble must be above nought")
        first = members[0].scorer
        if any(each.scorer.catalogue.ids != first.catalogue.ids for each in members):
            raise ValueError("the members of an ensemble must rank the same items")
        if not (isinstance(first, ActionModel) and isinstance(first, ValueModel)):
            # Its settings are at fault, as with the others: what restores it expects this.
            raise ValueError(f"{members[0].name} can't tell actions")  # noqa: TRY004
        self.members = tuple(members)
        self._constant, self._skips_seen = constant, skips_seen
        self._head: ActionModel = first
        self._values: ValueModel = first

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        return self.members[0].scorer.catalogue

    @property
    def reads_profiles(self) -> bool:
        """Whether it matters to a member who asks."""
        return any(s.reads_profiles for s in self._readers())

    @property
    def reads_surfaces(self) -> bool:
        """Whether it matters to a member where events happened, and where it is asked."""
        return any(s.reads_surfaces for s in self._readers())

    @property
    def value_names(self) -> tuple[str | None, ...]:
        """What the value of each event type is called, (A,); None of a type without one."""
        return self._values.value_names

    @property
    def parameters(self) -> int:
        """How many numbers the members learned."""
        return sum(learned_numbers(each.scorer) for each in self.members)

    def scores(self, histories: Histories) -> Floats:
        """Return the fused scores, (B, I); NaN where a member's score is no number."""
        fused_BI = np.zeros((len(histories), len(self.catalogue)))
        for member in self.members:
            scores_BI = member.scorer.scores(histories.recent(member.reads))
            for row, scores_I in enumerate(scores_BI):
                first, stop = histories.offsets[row], histories.offsets[row + 1]
                seen = self.placeless(histories.items[first:stop])
                fused_BI[row] += self.term(member, scores_I, seen)
                # Whoever ranks counts such scores and puts them last: a broken member shows.
                fused_BI[row, ~np.isfinite(scores_I)] = np.nan
        return fused_BI.astype(np.float32)

    def term(
        self, member: Member, scores_I: Floats, placeless: NDArray[np.int32] | None
    ) -> NDArray[np.float64]:
        """Return what a member's list adds to the fused score of each item, (I,).

        Args:
            member: one of them.
            scores_I: its own.
            placeless: from `placeless`.
        """
        return member.weight / (self._constant + places(scores_I, placeless))

    def placeless(self, seen: NDArray[np.int32]) -> NDArray[np.int32] | None:
        """Return those rows of a history that take no place in the lists; None: all take one."""
        return seen if self._skips_seen else None

    def action_probabilities(self, histories: Histories, items: NDArray[np.int64]) -> Floats:
        """Return how likely the first member finds each event type, (B, K, A)."""
        return self._head.action_probabilities(histories.recent(self.members[0].reads), items)

    def expected_values(self, histories: Histories, items: NDArray[np.int64]) -> Floats:
        """Return the values that the first member expects, (B, K, A)."""
        return self._values.expected_values(histories.recent(self.members[0].reads), items)

    def with_scorers(self, scorers: Sequence[Ranker]) -> Ensemble:
        """Return the same fusion of other scorers, in the order of the members.

        Args:
            scorers: of one catalogue; the first tells actions.
        """
        members = [
            replace(each, scorer=cast("Scorer", scorer))
            for each, scorer in zip(self.members, scorers, strict=True)
        ]
        return Ensemble(members, self._constant, self._skips_seen)

    def settings(self) -> dict[str, Any]:
        """Return what the members are and how they are weighed."""
        return {
            "constant": self._constant,
            "skips_seen": self._skips_seen,
            "members": [
                {
                    "name": each.name,
                    "kind": each.scorer.kind,
                    "weight": each.weight,
                    "reads": each.reads,
                    "settings": each.scorer.settings(),
                }
                for each in self.members
            ],
        }

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of all members, each called `<member>/<its own name>`."""
        return {
            f"{each.name}/{name}": array
            for each in self.members
            for name, array in each.scorer.weights().items()
        }

    @classmethod
    def restore(
        cls, settings: dict[str, Any], weights: dict[str, NDArray[Any]], catalogue: Catalogue
    ) -> Self:
        """Make it again from what `settings` and `weights` returned."""
        members = []
        for told in settings["members"]:
            prefix = f"{told['name']}/"
            own = {
                name.removeprefix(prefix): array
                for name, array in weights.items()
                if name.startswith(prefix)
            }
            scorer = restore(told["kind"], told["settings"], own, catalogue)
            weight, reads = float(told["weight"]), int(told["reads"])
            members.append(Member(told["name"], scorer, weight, reads))
        return cls(members, float(settings["constant"]), bool(settings["skips_seen"]))

    def _readers(self) -> list[ReadsMore]:
        return [each.scorer for each in self.members if isinstance(each.scorer, ReadsMore)]


def unified_of(scorer: Scorer) -> Scorer:
    """Return the unified model of an ensemble that has one; any other scorer as it is."""
    if not isinstance(scorer, Ensemble):
        return scorer
    return next((each.scorer for each in scorer.members if each.name == UNIFIED), scorer)


def places(scores_I: Floats, seen: NDArray[np.int32] | None = None) -> NDArray[np.float64]:
    """Return the place of each item in the order of the scores, 1 …, (I,).

    Items with the same score share the mean of the places that they take: most rivals know nothing
    of most items, and the order of the catalogue is no evidence.

    Args:
        scores_I: higher is better.
        seen: rows of items that take no place; their own lies half a place behind that of the last
            item above them.
    """
    order_I = np.argsort(-scores_I, kind="stable")
    sorted_I = scores_I[order_I]
    takes_I = np.ones(len(scores_I))
    if seen is not None:
        takes_I[seen] = 0
    first_I = np.ones(len(scores_I), bool)
    first_I[1:] = sorted_I[1:] != sorted_I[:-1]
    group_I = np.cumsum(first_I) - 1
    taken_G = np.bincount(group_I, weights=takes_I[order_I])
    above_G = np.cumsum(taken_G) - taken_G
    places_I = np.empty(len(scores_I))
    places_I[order_I] = (above_G + (taken_G + 1) / 2)[group_I]
    return places_I


def fused(model: Model, dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Return the unified model fused with the systems of `training.ensemble`.

    Args:
        model: the unified one, trained on what lies before the fold's test window.
        dataset: what the other members are fitted on.
        fold: nothing at or after `test_start` is read.
        config: the whole tree; without an ensemble in it, the model is returned as it is.

    Raises:
        TrainingError: a member has nothing to learn, or its loss is not finite.
    """
    settings = config.training.ensemble
    if settings is None:
        return model
    members = [Member(UNIFIED, model.scorer, settings.unified, model.history)]
    for name, weight in settings.members.items():
        other = rivals.fit(name, dataset, fold, config)
        members.append(Member(name, other.scorer, weight, other.history))
    scorer = Ensemble(members, settings.constant, config.actions.exclude_seen)
    return replace(
        model,
        scorer=scorer,
        history=max(each.reads for each in members),
        feature_service=service_of(scorer),
    )
