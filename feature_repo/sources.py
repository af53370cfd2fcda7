"""Where the views' rows come from: one Parquet snapshot per view, replaced as a whole."""

from __future__ import annotations

from datetime import timedelta

from feast import FileSource

from feature_repo.entities import OWNER

FOREVER = timedelta(days=36_525)
"""Snapshots don't expire by the clock: a log may be years old. Feast also needs a number here:
a first `materialize-incremental` starts at now − ttl, and 0 would mean a year ago."""


def snapshot(view: str, location: str) -> FileSource:
    """Return the snapshot of one view.

    Args:
        view: its name.
        location: of the project's snapshots (`Profile.offline_location`).
    """
    return FileSource(
        name=f"{view}_snapshot",
        path=f"{location}/{view}.parquet",
        # As of when a row is true, not when its last event happened: so a snapshot that holds a
        # late event is newer than the one without it.
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        description=f"Rows of {view} as of one moment, written by the materialize step.",
        owner=OWNER,
    )
