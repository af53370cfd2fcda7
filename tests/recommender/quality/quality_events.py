"""Single events and items, and their missing values filled in."""

from __future__ import annotations

from datetime import timedelta

from quality_tables import START, Row, of_rows

from recommender.config.imputation import EventImputation
from recommender.quality.imputation import Imputed, fill_events

HORIZON = round((START + timedelta(hours=100)).timestamp() * 1000)


def event(number: int, hour: float | None, **more: object) -> Row:
    sound: Row = {
        "event_id": f"e{number:03d}",
        "user_id": "a",
        "item_id": "i0",
        "event": "rate",
        "time": None if hour is None else START + timedelta(hours=hour),
        "value": 3.0,
        "surface": "home",
        "position": 1,
        "propensity": 0.5,
    }
    return {**sound, **more}


def filled(log: list[Row], horizon: int | None = HORIZON, **policies: object) -> list[Row]:
    return outcome(log, horizon, **policies)[0]


def outcome(
    log: list[Row], horizon: int | None = HORIZON, **policies: object
) -> tuple[list[Row], tuple[Imputed, ...]]:
    events = of_rows(log, [], []).events
    table, done = fill_events(events, EventImputation.model_validate(policies), horizon)
    return table.to_pylist(), done


def values(rows: list[Row], column: str = "value") -> list[object]:
    return [row[column] for row in rows]


def item(name: str, price: float | None, **more: object) -> Row:
    sound: Row = {
        "item_id": name,
        "title": "a title",
        "text": None,
        "categories": ["c"],
        "brand": "b",
        "price": price,
        "created": None,
    }
    return {**sound, **more}
