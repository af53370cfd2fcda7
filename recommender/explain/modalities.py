"""What each thing that a model reads adds to a score; the parts add up to what it knows at all.

A part is the Shapley value of what the model reads, as players of a game: what is left of a score
when some of it is hidden (`recommender.explain.shares`, which says when it is exact). What hiding
means for each is said by `recommender.model.modalities`.

Shape letters: N coalitions, M items that are asked about, I items of the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from recommender.explain.occlusion import Doubles, focused, joined, occluded
from recommender.explain.shares import Coalition, Worth, shared_out
from recommender.features.sequences import Histories
from recommender.scoring import Scorer

if TYPE_CHECKING:
    from recommender.ensemble import Ensemble
    from recommender.explain.hidden import HiddenFrom
    from recommender.model.scorer import TransformerScorer

EVENTS = "events"
"""That there are events at all, with everything hidden that can be hidden: of models whose items
can't be read in parts."""

MEMBER = "member:"
"""Begins the part of a member of an ensemble."""


@dataclass(frozen=True)
class Contributions:
    """What the things that a model reads add to scores.

    Attributes:
        scores: with everything shown, (M,).
        floor: with everything hidden, (M,).
        parts: of each thing that is read, by name, (M,) each; together they are
            `scores - floor`.
    """

    scores: Doubles
    floor: Doubles
    parts: dict[str, Doubles]


def modalities(
    scorer: Scorer, history: Histories, items: NDArray[np.int64], plain_action: int
) -> Contributions:
    """Return what each thing that a model reads adds to the scores of some items.

    What there is depends on the model, and what is not read has no part:

    - Transformer: what `modalities_of` lists, hidden in the history, the request and the items
      that are scored. Its floor is what somebody of whom nothing is known would be told of an
      item of which nothing is known and that nobody has taken: the same for all items.
    - Ensemble: the same parts of its Transformer, in units of the fused score (what is left of the
      term of its list when some of it is hidden), and of every other member its own term
      (`member:<name>`). The floor is that of lists in which all items share one place.
    - Others: `action` (where hidden, all events are of the plainest type), `time` (all happened
      just now), `surface`, `person`, and `events`: that there are any. The floor is the score
      without any history, of nobody in particular. A part is left out where hiding it changes
      the score of no item of the catalogue.

    Args:
        scorer: of the model itself.
        history: one, of the events that the model reads; may be empty.
        items: catalogue rows, (M,).
        plain_action: code of the type that every event has where actions are hidden.
    """
    if scorer.kind == "transformer":
        return _of_transformer(scorer, history, items, plain_action)
    if scorer.kind == "ensemble":
        return _of_ensemble(cast("Ensemble", scorer), history, items, plain_action)
    return _of_any(scorer, history, items, plain_action)


def _contributions(worth: Worth, names: tuple[str, ...]) -> Contributions:
    parts = shared_out(worth, names)
    return Contributions(worth(frozenset(names)), worth(frozenset()), parts)


def _of_transformer(
    scorer: Scorer, history: Histories, items: NDArray[np.int64], plain_action: int
) -> Contributions:
    from recommender.explain.hidden import HiddenFrom
    from recommender.model.modalities import modalities_of

    read = modalities_of(cast("TransformerScorer", scorer).module, plain_action)
    small, history, asked_M = focused(scorer, history, items)
    hidden = HiddenFrom(cast("TransformerScorer", small), history, read)
    return _contributions(lambda shown: hidden.scores(shown)[asked_M], hidden.names)


def _of_ensemble(
    ensemble: Ensemble, history: Histories, items: NDArray[np.int64], plain_action: int
) -> Contributions:
    from recommender.ensemble import unified_of
    from recommender.explain.hidden import HiddenFrom, apart
    from recommender.model.modalities import modalities_of

    seen = ensemble.placeless(history.items)
    level_I = np.zeros(len(ensemble.catalogue), np.float32)
    unified = unified_of(ensemble)
    scores_M = floor_M = np.zeros(len(items))
    parts: dict[str, Doubles] = {}
    shares: dict[str, Doubles] = {}
    for member in ensemble.members:
        known = history.recent(member.reads)
        if member.scorer is unified and unified.kind == "transformer":
            # Places are among all items, so none can be left out here.
            transformer = cast("TransformerScorer", unified)
            read = modalities_of(transformer.module, plain_action)
            hidden = HiddenFrom(apart(transformer), known, read)
            term = partial(ensemble.term, member, placeless=seen)
            found = _contributions(partial(_fused, hidden, term, items), hidden.names)
            parts = found.parts
        else:
            term_M = ensemble.term(member, member.scorer.scores(known)[0], seen)[items]
            nothing_M = ensemble.term(member, level_I, seen)[items]
            found = Contributions(term_M, nothing_M, {})
            shares[f"{MEMBER}{member.name}"] = term_M - nothing_M
        scores_M, floor_M = scores_M + found.scores, floor_M + found.floor
    return Contributions(scores_M, floor_M, {**parts, **shares})


def _fused(
    hidden: HiddenFrom,
    term: Callable[[NDArray[np.float32]], Doubles],
    items: NDArray[np.int64],
    shown: Coalition,
) -> Doubles:
    return term(hidden.scores(shown).astype(np.float32))[items]


def _of_any(
    scorer: Scorer, history: Histories, items: NDArray[np.int64], plain_action: int
) -> Contributions:
    readable = [
        name
        for name, there in (
            ("action", True),
            ("time", True),
            ("surface", history.surface is not None or history.surfaces is not None),
            ("person", any(history.people or ())),
        )
        if there
    ]
    coalitions = [
        frozenset(name for name, there in zip(readable, shown, strict=True) if there)
        for shown in product((False, True), repeat=len(readable))
    ]
    variants = [_shown(history, shown, plain_action) for shown in coalitions]
    nothing = np.zeros((1, int(history.lengths[0])), bool)
    told_NI = scorer.scores(joined([*variants, occluded(variants[0], nothing)]))
    told_NI = told_NI.astype(np.float64)
    score_I = dict(zip(coalitions, told_NI, strict=False))
    read = tuple(
        name
        for name in readable
        if any((score_I[some] != score_I[some - {name}]).any() for some in coalitions)
    )
    found = _contributions(lambda shown: score_I[shown][items], read)
    floor_M = told_NI[-1][items]
    events = {EVENTS: found.floor - floor_M} if (score_I[frozenset()] != told_NI[-1]).any() else {}
    return Contributions(found.scores, floor_M, {**found.parts, **events})


def _shown(history: Histories, shown: Coalition, plain_action: int) -> Histories:
    """Return the history with whatever is not named hidden."""
    if "action" not in shown:
        history = replace(history, actions=np.full_like(history.actions, plain_action))
    if "time" not in shown:
        history = replace(history, times=np.full_like(history.times, history.now[0] - 1))
    if "surface" not in shown:
        where = None if history.surfaces is None else np.zeros_like(history.surfaces)
        here = None if history.surface is None else np.zeros_like(history.surface)
        history = replace(history, surfaces=where, surface=here)
    if "person" not in shown and history.people is not None:
        history = replace(history, people=(None,) * len(history))
    return history
