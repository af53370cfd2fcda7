"""The view `user_social`: what those whom somebody follows took, as of a moment.

Made by the function that training and evaluation call (`recommender.features.social`), of the same
edges and events under the same pseudonyms: so what is served is what was judged.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from recommender.config import Config
from recommender.features.build import catalogue_order, event_log
from recommender.features.sequences import Catalogue
from recommender.features.social import followed, hidden
from recommender.followed_took import row_of
from recommender.privacy import pseudonyms
from recommender.tables import FOLLOWS, Tables


def user_social(tables: Tables, config: Config, as_of: int) -> pa.Table:
    """Return a row for everybody who follows somebody that took something before a moment.

    A row names, by pseudonym, those whom it speaks of: by that it is found, and goes, when one of
    them is forgotten. A reader takes the items and leaves the names.

    Args:
        tables: validated; without a follow graph there are no rows.
        config: says what counts as taken.
        as_of: UTC milliseconds; nothing at or after it has left a trace.

    Returns:
        `user_id`, sorted; `followed`: a JSON object of `took` (item id → how many of them took it)
        and `users` (their pseudonyms).
    """
    edges = FOLLOWS.empty_table() if tables.follows is None else tables.follows
    names = pseudonyms(config.paths.keys)
    log = event_log(tables, config).of_types(config.actions.successes, config.actions)
    log = replace(log, users=names.of_all(log.users))
    catalogue = Catalogue(tuple(catalogue_order(tables.items)["item_id"].to_pylist()))
    told = followed(hidden(edges, names), log, catalogue, as_of)
    known = {user: told.get(names.of(user)) for user in sorted(set(edges["user_id"].to_pylist()))}
    rows = {user: row_of(each.took, each.users) for user, each in known.items() if each is not None}
    return pa.table(
        {
            "user_id": pa.array(list(rows), pa.string()),
            "followed": pa.array(list(rows.values()), pa.string()),
        }
    )
