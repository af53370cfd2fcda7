"""What this side notices by itself: a source that has changed, data that have moved, worse quality.

Each returns causes whose ids say what was noticed, so that noticing it again is no further cause.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.backend.identity import locations_of, source_version
from pipelines.triggers.cause import Cause, Kind
from pipelines.triggers.door import NoSuchDataError
from pipelines.triggers.metrics import Figures
from recommender.config import Config
from recommender.config.triggers import QualityTrigger
from recommender.errors import SourceError
from recommender.served import joined
from recommender.served_store import store_of
from recommender.tables import Tables

_DAY_MS = 86_400_000


def source_state(config: Config) -> Cause:
    """Return the cause that the source as it is now would be.

    Raises:
        SourceError: nothing lies at a location.
        StorageError: S3 refuses or can't be reached.
    """
    version = source_version(config)
    return Cause(f"source#{version}", Kind.LANDED, f"the source has changed ({version})")


def look(causes: Sequence[Cause], config: Config) -> None:
    """Make sure that the data which causes name are there, and are this data set's.

    The source is listed once, however many causes tell of it.

    Raises:
        NoSuchDataError: some aren't.
        StorageError: S3 refuses or can't be reached.
    """
    versions, ours = config.paths.data / "versions", locations_of(config)
    for name in {cause.data_version for cause in causes} - {""}:
        if "/" in name or name.startswith(".") or not (versions / name).is_dir():
            raise NoSuchDataError(
                f"there is no data version {name!r}",
                f"ingest makes them; `ls {versions}` shows which there are",
            )
    landed = [cause for cause in causes if cause.kind is Kind.LANDED]
    for cause in landed:
        if cause.location and not any(_within(cause.location, each) for each in ours):
            raise NoSuchDataError(
                f"{cause.location} is not part of the source of {config.name}",
                f"it reads {', '.join(ours) or 'nothing from outside'}",
            )
    if not landed:
        return
    try:
        source_version(config)
    except SourceError as error:
        raise NoSuchDataError(error.message, error.hint) from error


def _within(location: str, ours: str) -> bool:
    return location == ours or location.startswith(ours.rstrip("/") + "/")


def drifted(config: Config, tell: Callable[[Figures], None] = lambda _figures: None) -> list[Cause]:
    """Compare what a run would read now with what was accepted last.

    Args:
        config: of the data set.
        tell: called with the figures and their limits; none where there is nothing to compare.

    Raises:
        SourceError: the source can't be read.
        StorageError: a file can't be read or written.
    """
    from components.ingest.step import since_the_source
    from recommender.quality.accepted import last_accepted
    from recommender.quality.clean import clean
    from recommender.quality.drift import drift
    from recommender.quality.statistics import Statistics
    from recommender.sources.versions import ingest

    accepted = last_accepted(config.paths.data)
    if accepted is None:
        tell({})
        return []
    # Ingest alone joins the files of the served log: two at it would join each day twice.
    current = ingest(config, since_the_source(config, compact=False))
    if current.name == accepted.data_version:
        tell({})
        return []
    tables = clean(Tables.read(current.folder), config, datetime.now(UTC)).tables
    limits = config.triggers.drift
    moved = drift(accepted.statistics, Statistics.of(tables, config.actions))
    figures = {
        "popularity (Jensen–Shannon distance)": (moved.get("popularity"), limits.popularity),
        "event types (stability index)": (moved.get("event_mix"), limits.event_mix),
        **{
            f"{name} (stability index)": (value, limits.features)
            for name, value in _features(config, tables).items()
        },
    }
    tell(figures)
    passed = [
        f"{name} {value:.2f} > {limit:g}"
        for name, (value, limit) in figures.items()
        if value is not None and limit is not None and value > limit
    ]
    if not passed:
        return []
    name = f"drift#{accepted.data_version}#{current.name}"
    return [Cause(name, Kind.DRIFT, f"since {accepted.data_version}: {', '.join(passed)}"[:500])]


def _features(config: Config, tables: Tables) -> dict[str, float]:
    """Return how far the figures of users have moved from the last accepted features'.

    Those that move with the clock (time since the last event …) are left out: a quiet weekend
    changes them for everybody, and nothing is wrong.
    """
    from recommender.features.activity import activity
    from recommender.features.build import catalogue_order, history_log
    from recommender.features.expectations.figures import figures, limit_of
    from recommender.features.expectations.profile import baseline
    from recommender.features.snapshots import sequences, up_to_now

    before = baseline(config.paths.features, "")
    if before is None:
        return {}
    log, as_of = history_log(tables, config, event_ids=True), up_to_now(tables)
    features = config.features
    items = catalogue_order(tables.items)["item_id"]
    limit = features.history_limit
    now = {
        "user_sequence": sequences(log, items, config.actions.types, as_of, limit),
        "user_activity": activity(log, config.actions, features.activity.windows_days, as_of),
    }
    return {
        f"{view}: {name}": before.views[view].figures[name].moved(values)
        for view, table in now.items()
        for name, values in figures(view, table, as_of)
        if view in before.views
        and name in before.views[view].figures
        and limit_of(view, name) == "psi"
    }


def decayed(config: Config) -> list[Cause]:
    """Compare what people did with their lists lately with the days before.

    Raises:
        StorageError: the logs can't be read.
    """
    settings, store = config.triggers.quality, store_of(config.serving.log, config.paths)
    served, feedback = store.read("served"), store.read("feedback")
    if not served.num_rows:
        return []
    attribution = int(1000 * config.serving.feedback.attribution_s)
    lists = joined(served, feedback, attribution, config.actions.successes)
    # The newest lists' successes are still to come.
    end = int(pc.max(lists["time"].cast(pa.int64())).as_py()) - attribution
    found = loss(lists, end, settings)
    if found is None:
        return []
    day = datetime.fromtimestamp(end / 1000, UTC).date()
    return [Cause(f"decay#{day}", Kind.DECAY, found)]


def loss(lists: pa.Table, end: int, settings: QualityTrigger) -> str | None:
    """Say how much has been lost, if a loss of `settings.drop` is shown.

    Successes per list are a ratio of sums over users, who are the units: its variance by the
    delta method, the relative change by its logarithm (Deng, Knoblich and Lu, 2018).

    Args:
        lists: as `recommender.served.JOINED`.
        end: UTC milliseconds; later lists don't count.
        settings: days, users, confidence.
    """
    start = end - settings.recent_days * _DAY_MS
    first = start - settings.before_days * _DAY_MS
    before, now = _rate(lists, first, start), _rate(lists, start, end)
    if before is None or now is None or min(before.users, now.users) < settings.minimum_users:
        return None
    if not before.rate:
        return None
    if not now.rate:
        return f"nobody of {now.users:,} people took anything in {settings.recent_days} days"
    error = math.hypot(before.error / before.rate, now.error / now.rate)
    change = math.log(now.rate / before.rate)
    highest = change + NormalDist().inv_cdf((1 + settings.confidence) / 2) * error
    if highest >= math.log(1 - settings.drop):
        return None
    return (
        f"successes per list fell from {before.rate:.4f} ({before.users:,} people) to "
        f"{now.rate:.4f} ({now.users:,} people): by {1 - math.exp(change):.0%}, at least "
        f"{1 - math.exp(highest):.0%} at {settings.confidence:.0%} confidence"
    )


@dataclass(frozen=True)
class _Rate:
    """Successes per list, its standard error, and how many users stand behind it."""

    rate: float
    error: float
    users: int


def _rate(lists: pa.Table, first: int, end: int) -> _Rate | None:
    times = lists["time"].cast(pa.int64())
    inside = pc.and_(pc.greater_equal(times, first), pc.less(times, end))
    rows = lists.filter(inside).select(["request_id", "user", "rewarded"])
    each = rows.group_by(["user", "request_id"]).aggregate([("rewarded", "max")])
    people = each.group_by("user").aggregate([("rewarded_max", "sum"), ("rewarded_max", "count")])
    if not people.num_rows:
        return None
    good = people["rewarded_max_sum"].to_numpy().astype(float)
    asked = people["rewarded_max_count"].to_numpy().astype(float)
    rate = good.sum() / asked.sum()
    error = float(np.sqrt(np.sum((good - rate * asked) ** 2)) / asked.sum())
    return _Rate(float(rate), error, people.num_rows)
