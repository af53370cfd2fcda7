"""Rows as Feast hands them to a store → our events, and our snapshot batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from feature_repo.arrow_kinds import arrow_type
from feature_repo.stores.rows import CREATED, EVENT
from feature_repo.stream.event import RejectedEventError, StreamEvent, read_event
from feature_repo.stream.landing import FOLDER, Landing
from feature_repo.stream.rules import EventRules
from feature_repo.wire import KINDS, decode_value
from recommender.errors import FeatureError
from recommender.workspace import Workspace

_EVERY_FILE = f"/{FOLDER}/*.parquet"


def landing_at(path: str) -> Landing | None:
    """Return the landing that a batch source reads; None if it reads something else."""
    return Landing(path.removesuffix(_EVERY_FILE)) if path.endswith(_EVERY_FILE) else None


def workspace_of(config: Any) -> Workspace | None:
    """Return the workspace of Feast's stores, if the profile names it."""
    features = str(getattr(config.online_store, "features", ""))
    # Feast leaves a variable that nobody set as it stands in the file.
    return Workspace(Path(features).absolute().parent) if features and "$" not in features else None


def events_of(rows: Sequence[Any], rules: EventRules, now_ms: int) -> list[StreamEvent]:
    """Return the events of rows of `user_event`: all of them or none.

    Args:
        rows: (entity key, values by feature, event timestamp, created) as Feast has them.
        rules: of the data set.
        now_ms: the present moment, UTC milliseconds.

    Raises:
        FeatureError: a row is no valid event; the first one is named.
    """
    return checked_events(
        (
            {
                "user_id": _python(key.entity_values[0]),
                "time": _aware(time),
                **{name: _python(value) for name, value in values.items()},
            }
            for key, values, time, _ in rows
        ),
        rules,
        now_ms,
    )


def events_of_table(table: pa.Table, rules: EventRules, now_ms: int) -> list[StreamEvent]:
    """Return the events of a table that Feast writes offline: all of them or none.

    Args:
        table: with the columns of `recommender.tables.EVENTS`; times may be text.
        rules: of the data set.
        now_ms: the present moment, UTC milliseconds.

    Raises:
        FeatureError: a row is no valid event; the first one is named.
    """
    rows = table.to_pylist()
    for row in rows:
        if isinstance(row["time"], datetime):
            row["time"] = _aware(row["time"])
    return checked_events(({k: _known(v) for k, v in row.items()} for row in rows), rules, now_ms)


def checked_events(
    given: Iterable[Mapping[str, Any]], rules: EventRules, now_ms: int
) -> list[StreamEvent]:
    """Validate events, all of them or none.

    Raises:
        FeatureError: one is wrong; it is named.
    """
    events = []
    for number, fields in enumerate(given):
        try:
            events.append(read_event(fields, rules, now_ms))
        except RejectedEventError as error:
            raise FeatureError(
                f"row {number} of what was pushed is no event: {error.message}",
                "nothing was taken; correct it and push again",
            ) from error
    return events


def is_plain(view: Any) -> bool:
    """Tell whether our stores can hold the rows of a view: one text key, kinds that we know."""
    return (
        len(getattr(view, "entity_columns", ())) == 1
        and view.entity_columns[0].dtype.to_value_type().name == "STRING"
        and set(_kinds(view).values()) <= set(KINDS)
    )


def snapshot_rows(view: Any, rows: Sequence[Any]) -> pa.RecordBatch:
    """Return rows as `OnlineStore.write` takes them.

    Args:
        view: a plain one.
        rows: as for `events_of`.
    """
    columns: dict[str, pa.Array] = {
        view.join_keys[0]: pa.array(
            [_python(key.entity_values[0]) for key, *_ in rows], pa.string()
        )
    }
    for name, kind in _kinds(view).items():
        held = [_held(values[name]) if name in values else None for _, values, *_ in rows]
        columns[name] = pa.array(held, arrow_type(kind))
    moment = pa.timestamp("us", tz="UTC")
    times = [_aware(time) for _, _, time, _ in rows]
    made = [
        time if created is None else _aware(created)
        for time, (*_, created) in zip(times, rows, strict=True)
    ]
    columns[EVENT] = pa.array(times, moment)
    columns[CREATED] = pa.array(made, moment)
    return pa.record_batch(columns)


def _kinds(view: Any) -> dict[str, str]:
    return {field.name: field.dtype.to_value_type().name.lower() for field in view.features}


def _held(value: Any) -> Any:
    return decode_value(value.SerializeToString())


def _python(value: Any) -> Any:
    return _known(_held(value))


def _known(value: Any) -> Any:
    """Return None for a NaN: pandas has no other null in a column of numbers."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _aware(moment: datetime) -> datetime:
    """Return the moment with a zone: Feast's are UTC where they name none."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
