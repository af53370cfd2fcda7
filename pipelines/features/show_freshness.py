"""Shows how old each view is, in a table, as JSON or as Prometheus reads it."""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table

from feature_repo.freshness import now_ms, place_of, read
from feature_repo.locations import project_name
from pipelines.features.moments import told_moment
from recommender.config import Config
from recommender.config.freshness import FreshnessLimits
from recommender.errors import FeatureError
from recommender.features.freshness import Freshness, duration, too_old


def show(config: Config, console: Console, *, as_json: bool, metrics: bool) -> bool:
    """Print the freshness of the live features; return whether all limits are kept.

    Args:
        config: of the data set.
        console: where to print.
        as_json: print plain JSON instead.
        metrics: print what Prometheus reads instead.

    Raises:
        FeatureError: nothing was published yet, or the store does not answer.
    """
    project = project_name(config, "live")
    place = place_of(config.paths, project)
    found = read(place)
    if not found:
        raise FeatureError(
            f"no publication is recorded for {project}", "publish features first: `ostinato run`"
        )
    now, limits = now_ms(), config.features.freshness
    old = {view: too_old(found, [view], limits, now) for view in found}
    fresh = not any(old.values())
    if metrics:
        from feature_repo.freshness_metrics import exposition

        print(exposition(place, project, limits), end="")
    elif as_json:
        views = {view: _plain(found[view], now, not old[view]) for view in found}
        print(json.dumps({"project": project, "fresh": fresh, "views": views}, indent=2))
    else:
        console.print(_table(found, {v: limits.of(v) for v in found}, old, now), highlight=False)
        for line in (line for lines in old.values() for line in lines):
            console.print(f"[red]stale[/]  {line}", highlight=False, soft_wrap=True)
        if not limits.limited:
            console.print("[dim]no limits are set (features.freshness)[/]", highlight=False)
    return fresh


def _plain(record: Freshness, now: int, fresh: bool) -> dict[str, object]:
    return {
        **record.to_dict(),
        "age_seconds": record.age_s(now),
        "lag_seconds": record.lag_s(now),
        "fresh": fresh,
    }


def _table(
    found: dict[str, Freshness],
    limits: dict[str, FreshnessLimits],
    old: dict[str, list[str]],
    now: int,
) -> Table:
    table = Table("view", "rows", "changed (UTC)", "age", "limit", "newest event", box=None)
    table.columns[1].justify = "right"
    for view, record in sorted(found.items()):
        limit = limits[view].max_age_hours
        lag = record.lag_s(now)
        table.add_row(
            f"[red]{view}[/]" if old[view] else view,
            f"{record.rows:,}",
            told_moment(record.changed_ms // 1000 * 1000),
            duration(record.age_s(now)),
            "–" if limit is None else duration(limit * 3600),
            "–" if lag is None else f"{duration(lag)} ago",
        )
    return table
