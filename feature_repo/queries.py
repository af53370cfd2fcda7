"""What is known of a user or an item, as typed rows: the questions that people and programs ask.

    from feature_repo import queries

    queries.user(config, "42").history.item_ids
    queries.user(config, "42", as_of_ms=1044057600000).activity.events_total
    queries.item(config, "17").text.title

Without a moment the online store answers: what the model server reads, read the same way, without
the Feast SDK. As of a moment the events themselves answer (`history_as_of.py`), with the same
fields.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from feature_repo.freshness import place_of, read
from feature_repo.locations import Lane, project_name
from feature_repo.online import attributes_of
from feature_repo.stores.opening import open_online
from feature_repo.typed_rows import (
    Activity,
    Answer,
    ItemFeatures,
    ItemTrend,
    UserFeatures,
    activity_of,
    history_of,
    text_of,
    trend_of,
)
from recommender.config import Config
from recommender.errors import FeatureError

if TYPE_CHECKING:
    from feature_repo.stores.online_store import OnlineStore

__all__ = [
    "Activity",
    "Answer",
    "ItemFeatures",
    "ItemTrend",
    "UserFeatures",
    "item",
    "titles",
    "user",
]

_LOOKED_AT = 20_000
"""Ids looked at for one that is nearly the same; of a larger store, whichever come first."""


def user(
    config: Config, user_id: str, as_of_ms: int | None = None, lane: Lane = "live"
) -> UserFeatures:
    """Return what is known of a user, now or as of a moment.

    Args:
        config: of the data set.
        user_id: as in the events.
        as_of_ms: UTC milliseconds: answer from the events, strictly before this moment. None:
            answer from the online store.
        lane: whose online store.

    Raises:
        FeatureError: nobody knows this user (the nearest id is named), or there is no store.
        StorageError: the data or a store can't be read.
    """
    if as_of_ms is not None:
        from feature_repo.history_as_of import user_as_of

        return user_as_of(config, user_id, as_of_ms, lane)
    project = project_name(config, lane)
    with _store(config, project) as store:
        profile = _row(store, "user_profile", "user_id", user_id)
        sequence = _row(store, "user_sequence", "user_id", user_id)
        activity = _row(store, "user_activity", "user_id", user_id)
        behaviour = _row(store, "user_behaviour", "user_id", user_id)
        if profile is None and sequence is None:
            raise _unknown("user", user_id, store.ids("user_sequence"))
    history = history_of(sequence)
    return UserFeatures(
        user_id,
        Answer("online", history.as_of_ms if history else None, _data_version(config, project)),
        history,
        activity_of(activity),
        None if profile is None else json.loads(profile["attributes"]),
        None if behaviour is None else behaviour["sentence"],
    )


def item(config: Config, item_id: str, lane: Lane = "live") -> ItemFeatures:
    """Return what the online store knows of an item.

    Args:
        config: of the data set.
        item_id: as in the catalogue.
        lane: whose online store.

    Raises:
        FeatureError: nobody knows this item (the nearest id is named), or there is no store.
    """
    with _store(config, project_name(config, lane)) as store:
        text = _row(store, "item_text", "item_id", item_id)
        attributes = _row(store, "item_attributes", "item_id", item_id)
        trend = _row(store, "item_trend", "item_id", item_id)
        if text is None and attributes is None:
            raise _unknown("item", item_id, store.ids("item_text"))
    return ItemFeatures(
        item_id,
        text_of(text),
        None if attributes is None else attributes_of(attributes),
        trend_of(trend),
    )


def titles(config: Config, item_ids: Iterable[str], lane: Lane = "live") -> dict[str, str]:
    """Return what people call items; those without a title are not in it.

    Raises:
        FeatureError: there is no store, or it can't be read.
    """
    wanted = list(dict.fromkeys(item_ids))
    with _store(config, project_name(config, lane)) as store:
        rows = store.rows("item_text", "item_id", wanted, ["title"])
    return {
        each: row["title"] for each, row in zip(wanted, rows, strict=True) if row and row["title"]
    }


def unknown_user(user_id: str, known: Iterable[str]) -> FeatureError:
    """Return the error that says that nobody knows a user, with the nearest known id."""
    return _unknown("user", user_id, known)


def _unknown(what: str, wanted: str, known: Iterable[str]) -> FeatureError:
    ids = list(islice(known, _LOOKED_AT))
    near = difflib.get_close_matches(wanted, ids, n=1, cutoff=0.6)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif ids:
        hint = f"one that it knows is {min(ids)!r}"
    else:
        hint = "it knows nobody yet; publish features first: `ostinato run`"
    return FeatureError(f"the feature store does not know the {what} {wanted!r}", hint)


@contextmanager
def _store(config: Config, project: str) -> Iterator[OnlineStore]:
    store = open_online(config.paths, project)
    try:
        if "user_sequence" not in store.views():
            raise FeatureError(
                f"nothing has been published for {project} yet",
                "publish its features first: `ostinato run`",
            )
        yield store
    finally:
        store.close()


def _row(store: OnlineStore, view: str, key: str, wanted: str) -> dict[str, Any] | None:
    """Return one row; None also where this deployment doesn't have the view."""
    if view not in store.views():
        return None
    (row,) = store.rows(view, key, [wanted])
    return row


def _data_version(config: Config, project: str) -> str:
    record = read(place_of(config.paths, project)).get("user_sequence")
    return record.data_version if record else ""
