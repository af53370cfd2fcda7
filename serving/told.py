"""An answer in the words of V1: plain JSON values."""

from __future__ import annotations

from typing import Any

from serving.ask import Ask
from serving.ranking import Answer, ByType


def prediction(ask: Ask, answer: Answer, request_id: str, version: str) -> dict[str, Any]:
    """Return one entry of `predictions`.

    Args:
        ask: what was asked.
        answer: to it.
        request_id: by which feedback refers to it.
        version: of the model.
    """
    items: list[dict[str, Any]] = [
        {"item_id": item, "title": title, "score": score}
        for item, title, score in zip(answer.items, answer.titles, answer.scores, strict=True)
    ]
    for place, item in enumerate(items):
        item["tasks"] = _at(place, answer.tasks)
        item["values"] = _at(place, answer.values)
    told: dict[str, Any] = {
        "items": items,
        "model_version": version,
        "request_id": request_id,
        "fallback": answer.fallback,
        "basis": answer.basis,
        "history": answer.history,
        "dropped": answer.dropped,
    }
    if answer.value_names:
        told["value_names"] = answer.value_names
    if ask.candidates is not None:
        told["unknown"] = list(answer.unknown)
    if answer.reason is not None:
        told["reason"] = answer.reason
    return told if ask.user_id is None else {"user_id": ask.user_id, **told}


def _at(place: int, numbers: ByType | None) -> dict[str, float] | None:
    """Return what is told of the item at one place."""
    return {name: each[place] for name, each in numbers.items()} if numbers else None
