"""Raw data in, canonical tables out."""

from __future__ import annotations

from pathlib import Path

from components.boundary import running
from feature_repo.stream.opening import landing_of
from feature_repo.stream.union import with_landed
from recommender.config import Config
from recommender.sources.content import content_hash
from recommender.sources.shown import shown_events
from recommender.sources.versions import Streamed, hand_over, ingest
from recommender.tables import Tables


def run(config: str, run_id: str, data: str) -> str:
    """Turn the configured source into a data version.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        data: the folder that gets `events`, `items` and `users.parquet` and `manifest.json`.

    Returns:
        the data version.

    Raises:
        SystemExit: the source or its mapping is wrong, or can't be reached; nothing was changed.
    """
    with running("ingest", config, run_id) as step:
        version = ingest(step.config, since_the_source(step.config))
        hand_over(version, Path(data))
        report = version.report
        step.summary |= {
            "data_version": version.name,
            "unchanged": version.unchanged,
            "folder": str(version.folder),
            "rows_read": report.rows_read,
            "rows": report.rows_kept,
            "dropped": [
                {"table": d.table, "reason": d.reason, "count": d.count} for d in report.dropped
            ],
            "unreadable": [
                {"table": u.table, "column": u.column, "count": u.count, "example": u.example}
                for u in report.unreadable
            ],
            "notes": report.notes,
            "files": [{"name": f.name, "bytes": f.size} for f in report.files],
        }
        return version.name


def since_the_source(config: Config, *, compact: bool = True) -> Streamed | None:
    """Return what came since the source was written: streamed events, then served lists.

    In this order: a click that came both ways keeps its place and propensity, and whoever only the
    stream has seen is known by then.

    Args:
        config: of the data set.
        compact: join small files of the served log on the way; whoever only looks may not.
    """
    parts = [_streamed(config), shown_events(config, compact=compact)]
    known = [part for part in parts if part is not None]
    return Streamed.together(known) if known else None


def _streamed(config: Config) -> Streamed | None:
    """Return the events that have landed by stream, if any, for whatever the source lacks of them.

    The next publication reads the same ones: what is trained on is what is served.
    """
    landed = landing_of(config).read()
    if not landed.events.num_rows:
        return None

    def add(tables: Tables) -> tuple[Tables, str]:
        both = with_landed(tables, landed, config.actions.types)
        waiting = both.unknown_items + both.unknown_types
        said = f"{both.added:,} streamed events that the source lacks were added"
        return both.tables, said + (f", {waiting:,} wait for their item" if waiting else "")

    return Streamed(content_hash(landed.events.sort_by("event_id")), add)
