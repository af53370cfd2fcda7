"""Shows what is known of an item: text, attributes, demand, neighbours in words."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console
from rich.markup import escape

from feature_repo import queries
from feature_repo.locations import project_name
from feature_repo.queries import ItemFeatures, ItemTrend
from feature_repo.similar import SimilarItem, similar_items
from pipelines.features.moments import told_moment
from recommender.config import Config
from recommender.features.freshness import duration

_NEIGHBOURS = 5


def show(config: Config, item_id: str, console: Console, *, as_json: bool) -> None:
    """Print what the online store knows of an item.

    Args:
        config: of the data set.
        item_id: as in the catalogue.
        console: where to print.
        as_json: print plain JSON instead, with the whole vector.

    Raises:
        FeatureError: nobody knows the item, or there is no store.
    """
    found = queries.item(config, item_id)
    near = _neighbours(config, found)
    if as_json:
        print(json.dumps(_plain(found, near), indent=2, ensure_ascii=False))
        return

    def say(name: str, words: str | None) -> None:
        console.print(f"{name:<12}{escape(words or '–')}", highlight=False, soft_wrap=True)

    title = found.text.title if found.text else None
    console.print(f"[bold]{escape(item_id)}[/]  {escape(title or '')}", highlight=False)
    if found.text is not None:
        say("text", found.text.text)
        width = len(found.text.vector)
        nothing = not any(found.text.vector)
        say("vector", "zeros: no text" if nothing else f"{width} numbers by {found.text.encoder}")
    if found.attributes is not None:
        say("categories", " › ".join(found.attributes.categories))
        say("brand", found.attributes.brand)
        price = found.attributes.price
        say("price", None if price is None else f"{price:,.2f}")
    if found.trend is not None:
        for line in _trend(found.trend):
            say("demand", line)
    if near:
        console.print("nearest in words")
        for each in near:
            words = f"  {each.cosine:.3f}  {each.item_id}  {escape(each.title or '')}"
            console.print(words, highlight=False, soft_wrap=True)


def _trend(trend: ItemTrend) -> list[str]:
    period = duration(trend.period_ms / 1000)
    if math.isnan(trend.forecast):
        return [f"unknown, per {period} ({trend.method or 'no method'})"]
    told = f"{trend.forecast:.2f} expected in the next {period} ({trend.method}); "
    told += f"level {trend.level:.2f}, slope {trend.slope:+.3f}, season {trend.season:+.2f}"
    return [f"{told}, as of {told_moment(trend.as_of_ms)}"]


def _neighbours(config: Config, found: ItemFeatures) -> list[SimilarItem]:
    if found.text is None or not any(found.text.vector):
        return []
    project = project_name(config, "live")
    return similar_items(config.paths, project, found.item_id, _NEIGHBOURS)


def _plain(found: ItemFeatures, near: list[SimilarItem]) -> dict[str, Any]:
    text, attributes, trend = found.text, found.attributes, found.trend
    return {
        "item_id": found.item_id,
        "text": text and {**vars(text), "vector": list(text.vector)},
        "attributes": attributes and vars(attributes),
        "trend": trend
        and {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in vars(trend).items()
        },
        "similar": [vars(each) for each in near],
    }
