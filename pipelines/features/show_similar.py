"""Shows the items whose text says most nearly the same."""

from __future__ import annotations

import json

from rich.console import Console
from rich.markup import escape

from feature_repo import queries
from feature_repo.locations import project_name
from feature_repo.similar import similar_items
from recommender.config import Config


def show(config: Config, item_id: str, k: int, console: Console, *, as_json: bool) -> None:
    """Print the items whose text is most like that of an item, the most similar first.

    Args:
        config: of the data set.
        item_id: as in the catalogue.
        k: how many.
        console: where to print.
        as_json: print plain JSON instead.

    Raises:
        FeatureError: nobody knows the item, it has no text, or nothing was published.
    """
    # The online store knows it first: it also names the nearest id of one that is misspelt.
    asked = queries.item(config, item_id)
    found = similar_items(config.paths, project_name(config, "live"), item_id, k)
    if as_json:
        told = {"item_id": item_id, "similar": [vars(each) for each in found]}
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return
    title = asked.text.title if asked.text else None
    console.print(f"[bold]{escape(item_id)}[/]  {escape(title or '')}", highlight=False)
    console.print("[dim]cosine of the text vectors, over the whole catalogue[/]", highlight=False)
    for rank, each in enumerate(found, 1):
        words = f"{rank:3}. {each.cosine:6.3f}  {each.item_id}  {each.title or '–'}"
        console.print(escape(words), highlight=False, soft_wrap=True)
