"""Raw data in, canonical tables out."""

from __future__ import annotations

from pathlib import Path

from components.boundary import running
from recommender.sources.versions import hand_over, ingest


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
        version = ingest(step.config)
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
