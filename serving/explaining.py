"""Answers with their reasons: past events, and what the model reads, that add up to each score.

Shape letters: T events that the model has read, M items of the answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recommender.explain import explain, modalities
from serving.ask import Ask, InvalidAskError
from serving.ranking import Answer, Found, Ranker

MAXIMUM_ASKS = 16
MAXIMUM_ITEMS = 50


def check(asks: list[Ask]) -> None:
    """Refuse what would take too long: an explanation costs as much as many recommendations.

    Raises:
        InvalidAskError: too many requests, or too many items.
    """
    if len(asks) > MAXIMUM_ASKS:
        raise InvalidAskError(f"instances: at most {MAXIMUM_ASKS} are explained at once")
    for place, ask in enumerate(asks):
        if ask.wanted > MAXIMUM_ITEMS:
            raise InvalidAskError(
                f"instances[{place}].k: at most {MAXIMUM_ITEMS} items are explained "
                f"(got {ask.wanted})"
            )


def reasons(ranker: Ranker, ask: Ask, found: Found, answer: Answer) -> list[dict[str, Any]]:
    """Explain the items of an answer.

    Args:
        ranker: that gave it.
        ask: what was asked.
        found: what is known of whoever asked.
        answer: to it.

    Returns:
        per item `score`; `base` (the score of the same person without history) and `because`
        (events with weights that add up to `score - base`, the strongest first); `floor` (the score
        with everything hidden that the model reads) and `parts` (what each of that adds, by name;
        together `score - floor`: see `recommender.explain.modalities`). Without history `because`
        is empty and `base` is the score; `parts` is empty, too, and `floor` the score, where it was
        not the model that answered.
    """
    model = ranker.model
    _, histories = ranker.read([ask], [found])
    history = histories.recent(model.history)
    if not answer.items:
        return []
    if not len(history.items) and answer.basis != "model":
        return [
            {"score": score, "base": score, "because": [], "floor": score, "parts": {}}
            for score in answer.scores
        ]
    catalogue = model.scorer.catalogue
    items_M = np.array([catalogue.index[item] for item in answer.items], np.int64)
    actions = model.actions
    plain = min(actions.code(name) for name in actions.histories)
    found_out = explain(model.scorer, history, items_M)
    read = modalities(model.scorer, history, items_M, plain)
    events = [
        {
            "item_id": catalogue.ids[item],
            "title": model.titles[item] or "",
            "action": actions.types[code - 1],
            "time": int(time),
        }
        for item, code, time in zip(history.items, history.actions, history.times, strict=True)
    ]
    told = []
    for place in range(len(items_M)):
        weights_T = found_out.weights[:, place]
        order = np.argsort(-np.abs(weights_T), kind="stable")
        told.append(
            {
                "score": float(found_out.scores[place]),
                "base": float(found_out.base[place]),
                "because": [{**events[row], "weight": float(weights_T[row])} for row in order],
                "floor": float(read.floor[place]),
                "parts": {name: float(part_M[place]) for name, part_M in read.parts.items()},
            }
        )
    return told
