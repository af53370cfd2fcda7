"""How fresh features are: what is recorded of a publication, and what is too old.

Two figures, because two things can stop. **Age**: the time since a view was published, or since
the last streamed event changed it. **Lag**: the time since the newest event that is in it. A
publication that repeats yesterday's data is young and lags; a quiet shop lags without being old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recommender.config.freshness import FreshnessConfig
from recommender.errors import FeatureError, StorageError
from recommender.files import read_json

EVENT_VIEWS = ("user_sequence", "user_activity", "user_behaviour", "user_social", "item_trend")
"""Views that events go into; the others have no lag."""

DATASET_FILE = "freshness.json"
"""Beside a training data set: a record per view, as published when it was made."""


@dataclass(frozen=True)
class Freshness:
    """When one view was published, and what was in it; moments are UTC milliseconds.

    Attributes:
        view: name of the feature view.
        as_of_ms: its rows hold what was known strictly before this moment.
        published_ms: when its rows had arrived in the online store.
        rows: in it.
        seconds: that publishing it took.
        data_version: of the canonical tables; "" where they had none.
        newest_event_ms: time of the newest event in it; None for a view without events.
        arrived_ms: when the last streamed event changed it; None if none did.
        read_ms: when the reading of what was published began: streamed events that arrived from
            then on were kept on top of it. None where nobody noted it.
    """

    view: str
    as_of_ms: int
    published_ms: int
    rows: int
    seconds: float = 0.0
    data_version: str = ""
    newest_event_ms: int | None = None
    arrived_ms: int | None = None
    read_ms: int | None = None

    @property
    def changed_ms(self) -> int:
        """When the view last changed: at its publication, or by a streamed event since."""
        return max(self.published_ms, self.arrived_ms or 0)

    def age_s(self, now_ms: int) -> float:
        """Return the seconds since the view last changed; never negative, clocks differ."""
        return max(now_ms - self.changed_ms, 0) / 1000

    def lag_s(self, now_ms: int) -> float | None:
        """Return the seconds since the newest event; None for a view that no event goes into."""
        if self.newest_event_ms is None:
            return None
        return max(now_ms - self.newest_event_ms, 0) / 1000

    def streamed(self, arrived_ms: int, newest_event_ms: int) -> Freshness:
        """Return the record after streamed events; what is older than it changes nothing."""
        if arrived_ms <= (self.arrived_ms or 0) and newest_event_ms <= (self.newest_event_ms or 0):
            return self
        return replace(
            self,
            arrived_ms=max(arrived_ms, self.arrived_ms or arrived_ms),
            newest_event_ms=max(newest_event_ms, self.newest_event_ms or newest_event_ms),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], where: str) -> Freshness:
        """Read what `to_dict` wrote.

        Args:
            value: the record.
            where: it was found, for the error.

        Raises:
            StorageError: it isn't such a record.
        """
        try:
            found = cls(**value)
            found.age_s(0), found.lag_s(0)
        except TypeError as error:
            raise StorageError(
                f"{where} is not a record of freshness: {error}", "publish the features again"
            ) from error
        return found


def newest_event(sequences: pa.Table) -> int | None:
    """Return the time (UTC ms) of the newest event in a snapshot of `user_sequence`."""
    newest = pc.max(pc.list_flatten(sequences["times"])).as_py()
    return None if newest is None else int(newest)


def of_dataset(views: Iterable[Freshness], newest_event_ms: int | None) -> list[Freshness]:
    """Return the records of a training data set, which holds later events than its publication.

    Args:
        views: as they were published with it, as of the test cut.
        newest_event_ms: time of the newest event in it.
    """
    return [
        each
        if each.newest_event_ms is None or newest_event_ms is None
        else replace(each, newest_event_ms=newest_event_ms)
        for each in views
    ]


def read_of_dataset(folder: Path) -> dict[str, Freshness]:
    """Return the records beside a training data set; none where it has no such file.

    Raises:
        StorageError: the file is damaged.
    """
    path = folder / DATASET_FILE
    if not path.exists():
        return {}
    held = read_json(path)
    if not isinstance(held, dict):
        raise StorageError(f"{path} is not a record of freshness", "run the materialize step again")
    return {view: Freshness.from_dict(each, str(path)) for view, each in held.items()}


def too_old(
    found: Mapping[str, Freshness], needed: Iterable[str], limits: FreshnessConfig, now_ms: int
) -> list[str]:
    """Say what is too old, one sentence per view and limit; nothing where all is fresh.

    Args:
        found: records by view.
        needed: views that somebody is about to read.
        limits: of the configuration.
        now_ms: UTC milliseconds.
    """
    said = []
    for view in needed:
        limit = limits.of(view)
        if limit.max_age_hours is None and limit.max_lag_hours is None:
            continue
        if view not in found:
            said.append(f"{view}: no publication is recorded, so nobody knows how old it is")
            continue
        record = found[view]
        age, lag = record.age_s(now_ms), record.lag_s(now_ms)
        if limit.max_age_hours is not None and age > limit.max_age_hours * 3600:
            said.append(
                f"{view} last changed {moment(record.changed_ms)}, {duration(age)} ago; "
                f"the limit is {duration(limit.max_age_hours * 3600)} "
                f"({_key(limits, view)}.max_age_hours)"
            )
        if limit.max_lag_hours is not None and lag is not None and lag > limit.max_lag_hours * 3600:
            said.append(
                f"{view} has no event after {moment(record.newest_event_ms or 0)}, "
                f"{duration(lag)} ago; the limit is {duration(limit.max_lag_hours * 3600)} "
                f"({_key(limits, view)}.max_lag_hours)"
            )
    return said


def must_be_fresh(
    found: Mapping[str, Freshness],
    needed: Iterable[str],
    limits: FreshnessConfig,
    now_ms: int,
    *,
    what: str,
    remedy: str,
) -> None:
    """Stop whoever is about to use features that are too old.

    Args:
        found: records by view.
        needed: views that are about to be read.
        limits: of the configuration.
        now_ms: UTC milliseconds.
        what: the features, in words ("the live features of shop").
        remedy: what to do.

    Raises:
        FeatureError: a view is older than its limit, or has a limit and no record. The message
            names every one, how old it is, and the limit.
    """
    said = too_old(found, needed, limits, now_ms)
    if said:
        lines = "\n".join(f"  {line}" for line in said)
        raise FeatureError(f"{what} are stale:\n{lines}", remedy)


def duration(seconds: float) -> str:
    """Write a length of time for people, in its two largest units.

    >>> duration(90061), duration(59.6), duration(7200)
    ('1 d 1 h', '1 min', '2 h')
    """
    left = round(seconds)
    parts = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def moment(ms: int) -> str:
    """Write a moment for people: UTC, to the second."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _key(limits: FreshnessConfig, view: str) -> str:
    own = any(name == view for name in limits.views)
    return "features.freshness" + (f".views.{view}" if own else "")
