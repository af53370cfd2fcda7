"""The tables as Great Expectations reads them: pandas frames, with a mark per row and rule.

User ids are pseudonyms here, because what is judged ends in reports.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pyarrow as pa

from recommender.config import Config
from recommender.quality import defects
from recommender.quality.columns import among
from recommender.quality.suites.events import CATEGORIES
from recommender.tables import Tables

Pseudonym = Callable[[str], str]

_ARROW = {pa.string(): pd.StringDtype("pyarrow")}


def events_frame(given: Tables) -> pd.DataFrame:
    """Return the events with the marks that `suites.events` expects to be true.

    Args:
        given: tables from `columns.normalised`.
    """
    events = given.events
    same, repeated, collides = defects.copies(events)
    frame: pd.DataFrame = events.drop_columns(["event_id"]).to_pandas(categories=list(CATEGORIES))
    return frame.assign(
        # Python strings would take most of the memory of a long log.
        event_id=pd.Series(events["event_id"].to_pandas(types_mapper=_ARROW.get)),
        is_item_known=among(events["item_id"], given.items["item_id"]),
        is_user_known=among(events["user_id"], given.users["user_id"]),
        is_new=~same,
        is_not_repeated=~repeated,
        is_id_its_own=~collides,
        is_value_finite=~defects.value_not_finite(events),
        goes_forward=~defects.backwards(events),
    )


def items_frame(given: Tables, config: Config) -> pd.DataFrame:
    """Return the items with the marks that `suites.items` expects to be true."""
    items = given.items
    frame: pd.DataFrame = items.select(["item_id", "title", "price"]).to_pandas()
    return frame.assign(
        is_last_of_id=~defects.superseded(items, "item_id"),
        is_price_believable=~defects.price_out_of_range(items, config.quality),
    )


def users_frame(given: Tables) -> pd.DataFrame:
    """Return the users with the marks that `suites.users` expects to be true."""
    frame: pd.DataFrame = given.users.select(["user_id"]).to_pandas()
    return frame.assign(is_last_of_id=~defects.superseded(given.users, "user_id"))


def follows_frame(given: Tables) -> pd.DataFrame:
    """Return the edges with the marks that `suites.follows` expects to be true.

    Args:
        given: tables from `columns.normalised`, with a follow graph.
    """
    follows: pa.Table = given.follows
    frame: pd.DataFrame = follows.to_pandas()
    return frame.assign(
        has_both_ends=~defects.ends_missing(follows),
        is_to_another=~defects.to_oneself(follows),
        is_new=~defects.followed_again(follows),
        is_followed_known=~defects.followed_unknown(follows, given.users, given.events),
    )


def pseudonymous(table: pa.Table, pseudonym: Pseudonym, column: str = "user_id") -> pa.Table:
    """Return `table` with pseudonyms for its user ids; missing ones stay missing.

    Args:
        table: with user ids.
        pseudonym: turns one into a pseudonym.
        column: name of the column that holds them.
    """
    place = table.schema.get_field_index(column)
    encoded = table[column].combine_chunks().dictionary_encode()
    names = pa.array(
        [None if name is None else pseudonym(name) for name in encoded.dictionary.to_pylist()],
        pa.string(),
    )
    hidden = pa.DictionaryArray.from_arrays(encoded.indices, names).cast(pa.string())
    return table.set_column(place, table.schema.field(place), hidden)
