"""What was known of a user at a moment: answered from the events themselves.

The events are those of the last accepted data version, cleaned as that run cleaned them, and
those that have been streamed since. The sequence is cut by the same function that training and
publishing call, so the answer as of now is the online row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.freshness import place_of, read
from feature_repo.locations import Lane, project_name
from feature_repo.profile import read_profile
from feature_repo.queries import unknown_user
from feature_repo.typed_rows import Answer, UserFeatures, activity_of, history_of
from recommender.config import Config
from recommender.errors import FeatureError
from recommender.features.activity import activity
from recommender.features.latest import sequences
from recommender.features.sequences import Catalogue, EventLog
from recommender.tables import EVENTS, Tables


@dataclass(frozen=True)
class AcceptedData:
    """The canonical tables of an accepted data version, cleaned.

    Attributes:
        data_version: its name.
        tables: as the validate step handed them on.
    """

    data_version: str
    tables: Tables


def accepted_data(config: Config, version: str = "") -> AcceptedData:
    """Read an accepted data version and clean it as its run did.

    Args:
        config: of the data set.
        version: its name; only the last two are known as accepted. Empty: the last one.

    Raises:
        FeatureError: no data was accepted yet, or not this version.
        StorageError: its files are gone or can't be read.
    """
    from recommender.quality.accepted import baseline, last_accepted
    from recommender.quality.clean import clean
    from recommender.sources.versions import folder_of

    accepted = last_accepted(config.paths.data)
    if accepted is None:
        raise FeatureError(
            f"no data of {config.name} was accepted yet, so nothing is known of any moment",
            "`ostinato run` reads and judges it",
        )
    if version and version != accepted.data_version:
        before = baseline(config.paths.data, accepted.data_version)
        known = [accepted.data_version, *([before.data_version] if before else [])]
        if before is None or before.data_version != version:
            raise FeatureError(
                f"{version} is none of the last accepted data versions of {config.name}",
                f"name one of them: {', '.join(known)}",
            )
        accepted = before
    raw = Tables.read(folder_of(config.paths.data, accepted.data_version))
    # Cleaned at the moment it was accepted: what lay in the future then stays out.
    cleaned = clean(raw, config, datetime.fromisoformat(accepted.accepted_at))
    return AcceptedData(accepted.data_version, cleaned.tables)


def user_as_of(config: Config, user_id: str, as_of_ms: int, lane: Lane = "live") -> UserFeatures:
    """Return what was known of a user strictly before a moment; fields as in the online answer.

    Args:
        config: of the data set.
        user_id: as in the events.
        as_of_ms: UTC milliseconds.
        lane: whose streamed events count.

    Raises:
        FeatureError: the events don't know this user, or no data was accepted yet.
        StorageError: the data can't be read.
    """
    data = accepted_data(config)
    events = _events_of(config, user_id, data.tables, lane)
    profile = _attributes(data.tables.users, user_id)
    if not events.num_rows and profile is None:
        everybody = pc.unique(data.tables.users["user_id"])
        raise unknown_user(user_id, everybody.to_pylist())
    # A streamed event may be about an item that the catalogue doesn't have yet.
    ids = sorted({*data.tables.items["item_id"].to_pylist(), *events["item_id"].to_pylist()})
    log = EventLog.build(events, Catalogue(tuple(ids)), config.actions, event_ids=True)
    history = log.of_types(config.actions.histories, config.actions)
    limit = config.features.history_limit
    types, surfaces = config.actions.types, config.actions.surfaces
    named = pa.chunked_array([pa.array(ids)])
    rows = sequences(history, named, types, as_of_ms, limit, surfaces).to_pylist()
    counted = activity(
        history, config.actions, config.features.activity.windows_days, as_of_ms
    ).to_pylist()
    return UserFeatures(
        user_id,
        Answer("events", as_of_ms, data.data_version),
        history_of(_only(rows)),
        activity_of(_only(counted)),
        profile,
        _sentence(config, history, data.tables.items, ids, as_of_ms),
    )


def _events_of(config: Config, user_id: str, data: Tables, lane: Lane) -> pa.Table:
    """Return a user's events, from data and stream; of one that is in both, the data's.

    The rules are those of the online row. A streamed event whose item the catalogue lacks waits:
    it is shown until the next publication, and again once the item has come.
    """
    from feature_repo.stream.landing import Landing

    accepted = data.events
    theirs = accepted.filter(pc.equal(accepted["user_id"], user_id))
    project = project_name(config, lane)
    location = read_profile().offline_location(config.paths.features, project)
    landed = Landing(location).read().events
    landed = landed.filter(pc.equal(landed["user_id"], user_id))
    known_type = pc.is_in(landed["event"], pa.array(config.actions.types, pa.string()))
    again = pc.is_in(landed["event_id"], accepted["event_id"].combine_chunks())
    known_item = pc.is_in(landed["item_id"], data.items["item_id"].combine_chunks())
    since = pc.greater_equal(landed["arrival"].cast(pa.int64()), _published_from(config, project))
    streamed = landed.filter(
        pc.and_(pc.and_(known_type, pc.invert(again)), pc.or_(known_item, since))
    )
    return pa.concat_tables([theirs, streamed.select(EVENTS.names).cast(theirs.schema)])


def _published_from(config: Config, project: str) -> int:
    """Return from which arrival on streamed events lie on top of the last publication, UTC ms."""
    record = read(place_of(config.paths, project)).get("user_sequence")
    return (record and record.read_ms) or 0


def _attributes(users: pa.Table, user_id: str) -> dict[str, str] | None:
    rows = users.filter(pc.equal(users["user_id"], user_id))["attributes"].to_pylist()
    return dict(rows[0] or ()) if rows else None


def _only(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    return rows[0] if rows else None


def _sentence(
    config: Config, history: EventLog, items: pa.Table, ids: list[str], as_of_ms: int
) -> str | None:
    """Tell the history in words, where the configuration asks for that."""
    text = config.features.text
    if not text.behaviour or not len(history.users):
        return None
    import numpy as np

    from recommender.features.behaviour import sentences, titles
    from recommender.features.build import catalogue_order

    ordered = catalogue_order(items)
    named = dict(zip(ordered["item_id"].to_pylist(), titles(ordered), strict=True))
    latest = history.histories(np.array([0]), np.array([as_of_ms]), text.behaviour_events)
    names = [named.get(each, each) for each in ids]
    (said,) = sentences(latest, names, config.actions.types, text.behaviour_events)
    return said or None
