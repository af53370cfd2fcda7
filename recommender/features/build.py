"""Canonical tables → the data set that models are trained and evaluated on."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from recommender.config import Config
from recommender.errors import FeatureError
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, EventLog
from recommender.features.social import hidden as hidden_edges
from recommender.features.text import TextVectors
from recommender.privacy import Pseudonyms
from recommender.split import cut
from recommender.tables import Tables


def catalogue_order(items: pa.Table) -> pa.Table:
    """Return the items sorted by id: the order of every item tensor.

    Raises:
        FeatureError: there are no items, or an id is missing or occurs twice.
    """
    ids = items["item_id"]
    if not len(ids):
        raise FeatureError(
            "the catalogue has no items", "check the items file of the source and its mapping"
        )
    if ids.null_count:
        raise FeatureError(
            f"{ids.null_count} items have no item_id",
            "validation removes such items; run the validate step on this data",
        )
    ordered = items.sort_by("item_id").combine_chunks()
    ids = ordered["item_id"]
    twice = pc.equal(ids.slice(1), ids.slice(0, len(ids) - 1))
    if pc.any(twice).as_py():
        again = ids.slice(1).filter(twice)
        raise FeatureError(
            f"{len(again)} items occur more than once, e.g. {again[0].as_py()!r}",
            "validation removes such items; run the validate step on this data",
        )
    return ordered


def event_log(tables: Tables, config: Config, *, event_ids: bool = False) -> EventLog:
    """Return all events, of all types, sorted by (user, time, event id); users by their ids.

    Args:
        tables: canonical.
        config: says what the event types mean.
        event_ids: whether the log carries the ids of its events.

    Raises:
        FeatureError: an event names an item or a type that isn't known.
    """
    catalogue = Catalogue(tuple(catalogue_order(tables.items)["item_id"].to_pylist()))
    return EventLog.build(tables.events, catalogue, config.actions, event_ids=event_ids)


def history_log(tables: Tables, config: Config, *, event_ids: bool = False) -> EventLog:
    """Return the events that make up histories (`actions.history`); arguments as `event_log`.

    Raises:
        FeatureError: an event names an item or a type that isn't known.
    """
    log = event_log(tables, config, event_ids=event_ids)
    return log.of_types(config.actions.histories, config.actions)


def build_dataset(
    tables: Tables,
    config: Config,
    text: TextVectors,
    pseudonyms: Pseudonyms,
    data_version: str,
) -> Dataset:
    """Turn canonical tables into a data set.

    Args:
        tables: validated.
        config: says what the event types mean and where time is cut.
        text: vectors of `catalogue_order(tables.items)`.
        pseudonyms: hide the users, because the data set leaves the feature store.
        data_version: of the tables.

    Returns:
        The data set: events of all types, users as pseudonyms in the order of their raw ids;
        time is cut by the events that make up histories.

    Raises:
        FeatureError: an event names an item or a type that isn't known.
        TrainingError: the log can't be cut in time.
    """
    items = catalogue_order(tables.items)
    if len(text.vectors) != items.num_rows:
        raise FeatureError(
            f"{len(text.vectors)} text vectors for {items.num_rows} items", "encode this catalogue"
        )
    log = EventLog.build(
        tables.events,
        Catalogue(tuple(items["item_id"].to_pylist())),
        config.actions,
        exposures=True,
    )
    history = log.of_types(config.actions.histories, config.actions)
    hidden = replace(log, users=pseudonyms.of_all(log.users))
    return Dataset(
        log=hidden,
        items=items,
        text=text.vectors,
        folds=cut(history.times, config.split),
        data_version=data_version,
        encoder=text.encoder,
        attributes=_attributes(tables.users, log.users, hidden.users, config),
        languages=text.languages,
        follows=None if tables.follows is None else hidden_edges(tables.follows, pseudonyms),
    )


def _attributes(
    people: pa.Table, users: tuple[str, ...], hidden: tuple[str, ...], config: Config
) -> pa.Table | None:
    """Return what evaluation groups people by and the model reads of them: more may identify."""
    wanted = dict.fromkeys((*config.evaluation.slices.attributes, *config.model.user_attributes))
    if not wanted:
        return None
    known = dict(zip(people["user_id"].to_pylist(), people["attributes"].to_pylist(), strict=True))
    rows = [dict(known.get(user) or ()) for user in users]
    columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in wanted}
    return pa.table({"user": pa.array(hidden, pa.string()), **columns})
