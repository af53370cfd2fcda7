"""Shows what the online store knows of a user, as the model server reads it."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from feature_repo.locations import project_name
from feature_repo.online import OnlineFeatures
from recommender.config import Config
from recommender.errors import FeatureError

_SHOWN = 20


def show(config: Config, user: str, console: Console, *, as_json: bool) -> None:
    """Print a user's sequence and attributes.

    Args:
        config: of the data set.
        user: id.
        console: where to print the table.
        as_json: print plain JSON instead, with every event.

    Raises:
        FeatureError: the store is missing or damaged, or doesn't know the user.
    """
    with OnlineFeatures(config.paths, project_name(config, "live")) as store:
        history = store.user_history(user)
        attributes = store.user_attributes(user)
        if history is None and attributes is None:
            raise FeatureError(
                f"the feature store does not know the user {user!r}",
                f"one it knows is {next(iter(store.users()), 'nobody yet')!r}",
            )
        if as_json:
            told = {
                "user_id": user,
                "attributes": attributes,
                "as_of": history and _moment(history.as_of_ms),
                "item_ids": history.item_ids if history else (),
                "actions": history.actions if history else (),
                "times": history.times if history else (),
                "values": [None if math.isnan(v) else v for v in history.values] if history else (),
            }
            print(json.dumps(told, indent=2, ensure_ascii=False))
            return
        about = ", ".join(f"{key} {value}" for key, value in sorted((attributes or {}).items()))
        console.print(f"[bold]{user}[/]  {about}", highlight=False)
        if history is None:
            console.print("no events yet")
            return
        console.print(
            f"{len(history)} events before {_moment(history.as_of_ms)}; the latest first",
            highlight=False,
        )
        table = Table("time (UTC)", "action", "item", "title", box=None)
        for row in reversed(range(max(0, len(history) - _SHOWN), len(history))):
            item = history.item_ids[row]
            text = store.item_text(item)
            title = (text.title if text else None) or "–"
            table.add_row(_moment(history.times[row]), history.actions[row], item, title)
        console.print(table, highlight=False)
        if len(history) > _SHOWN:
            console.print(f"… and {len(history) - _SHOWN} earlier ones (--json shows all)")


def _moment(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
