"""Shows what is known of a user: exactly what the model reads, or would have read."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from feature_repo import queries
from feature_repo.queries import Activity, UserFeatures
from pipelines.features.moments import read_moment, told_moment
from recommender.config import Config
from recommender.errors import FeatureError

_SHOWN = 20


def show(
    config: Config, user_id: str, as_of: str | None, console: Console, *, as_json: bool
) -> None:
    """Print a user's history, activity and attributes.

    Args:
        config: of the data set.
        user_id: as in the events.
        as_of: a moment as a person wrote it; None: what the online store holds.
        console: where to print.
        as_json: print plain JSON instead, with every event.

    Raises:
        FeatureError: nobody knows the user, the moment can't be read, or there is no store.
        StorageError: the data or a store can't be read.
    """
    moment = None if as_of is None else read_moment(as_of, datetime.now(UTC))
    found = queries.user(config, user_id, moment)
    if as_json:
        print(json.dumps(_plain(found), indent=2, ensure_ascii=False))
        return
    about = ", ".join(f"{key} {value}" for key, value in sorted((found.attributes or {}).items()))
    console.print(f"[bold]{escape(user_id)}[/]  {escape(about)}", highlight=False)
    for line in _origin(found, as_of):
        console.print(f"[dim]{escape(line)}[/]", highlight=False, soft_wrap=True)
    if found.activity is not None:
        _show_activity(found.activity, console)
    if found.sentence:
        console.print(f"in words: {escape(found.sentence)}", highlight=False, soft_wrap=True)
    _show_history(config, found, console)


def _origin(found: UserFeatures, as_of: str | None) -> list[str]:
    data = f", data version {found.answer.data_version}" if found.answer.data_version else ""
    if found.answer.origin == "online" or found.answer.as_of_ms is None:
        return [f"from the online store{data}: what the model server reads"]
    understood = told_moment(found.answer.as_of_ms)
    return [
        f"from the events{data} and what was streamed since, strictly before {understood} UTC",
        *([f"({as_of} was understood as {understood} UTC)"] if as_of != understood else []),
    ]


def _show_activity(activity: Activity, console: Console) -> None:
    counts = activity.counts
    windows = sorted(
        (int(name.removeprefix("events_").removesuffix("d")), count)
        for name, count in counts.items()
        if name.startswith("events_") and name.endswith("d")
    )
    recent = ", ".join(f"{count:,} in {days} d" for days, count in windows)
    console.print(
        f"{counts.get('events_total', 0):,} events ({recent}); the last "
        f"{activity.days_since_last:.1f} days before {told_moment(activity.as_of_ms)}",
        highlight=False,
        soft_wrap=True,
    )
    others = [
        f"{count:,} {name.rsplit('_', 1)[0].replace('_', ' ')} in {name.rsplit('_', 1)[1][:-1]} d"
        for name, count in counts.items()
        if not name.startswith("events_")
    ]
    if others:
        console.print(", ".join(others), highlight=False, soft_wrap=True)


def _show_history(config: Config, found: UserFeatures, console: Console) -> None:
    history = found.history
    if history is None or not len(history):
        console.print("no events yet" if found.answer.origin == "online" else "no events by then")
        return
    console.print(
        f"history: {len(history)} events before {told_moment(history.as_of_ms)}; the latest first",
        highlight=False,
    )
    rows = range(max(0, len(history) - _SHOWN), len(history))
    named = _titles(config, [history.item_ids[row] for row in rows])
    table = Table("time (UTC)", "action", "item", "title", box=None)
    for row in reversed(rows):
        item = history.item_ids[row]
        cells = (told_moment(history.times[row]), history.actions[row], item, named.get(item, "–"))
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table, highlight=False)
    if len(history) > _SHOWN:
        console.print(f"… and {len(history) - _SHOWN} earlier ones (--json shows all)")


def _titles(config: Config, items: list[str]) -> dict[str, str]:
    try:
        return queries.titles(config, items)
    except FeatureError:
        # As of a moment one may ask before anything was published; ids say enough then.
        return {}


def _plain(found: UserFeatures) -> dict[str, Any]:
    history, activity = found.history, found.activity
    return {
        "user_id": found.user_id,
        "origin": found.answer.origin,
        "data_version": found.answer.data_version or None,
        "as_of": _moment(found.answer.as_of_ms),
        "attributes": found.attributes,
        "item_ids": history.item_ids if history else (),
        "actions": history.actions if history else (),
        "times": history.times if history else (),
        "values": [None if math.isnan(v) else v for v in history.values] if history else (),
        "activity": activity
        and {
            **activity.counts,
            "last_event_ms": activity.last_event_ms,
            "days_since_last": activity.days_since_last,
            "as_of": _moment(activity.as_of_ms),
        },
        "sentence": found.sentence,
    }


def _moment(ms: int | None) -> str | None:
    return None if ms is None else told_moment(ms).replace(" ", "T") + "+00:00"
