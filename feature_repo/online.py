"""Reading the online store without the Feast SDK: what the model server does.

One read per question, of the fields that are needed, from SQLite or Redis as the profile says;
starts at once and reads, value for value, what the SDK would.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from feature_repo.profile import Profile
from feature_repo.stores import open_online
from recommender.errors import FeatureError
from recommender.followed_took import took_in
from recommender.workspace import Workspace

HISTORY_FIELDS = ("item_ids", "actions", "times", "values", "as_of")
"""What a model is asked with; a row holds more."""

SOCIAL = "user_social"
"""The view that stores have whose source has a follow graph."""

_WAIT_S = 5.0


@dataclass(frozen=True)
class UserHistory:
    """A user's most recent events; the first four are parallel, oldest event first.

    Attributes:
        item_ids: items, by id.
        actions: event types, by name.
        times: UTC milliseconds.
        values: what the events carried; NaN where nothing.
        as_of_ms: UTC milliseconds; the history holds the events strictly before it.
        surfaces: where the events happened, parallel too; empty where that was not asked for, or is
            not known.
    """

    item_ids: tuple[str, ...]
    actions: tuple[str, ...]
    times: tuple[int, ...]
    values: tuple[float, ...]
    as_of_ms: int
    surfaces: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.item_ids)


@dataclass(frozen=True)
class ItemText:
    """What is said about an item.

    Attributes:
        title: as in the catalogue, if it has one.
        text: what was encoded.
        vector: of length 1; all zeros where there is no text.
        encoder: name@revision.
        content_hash: SHA-256 of the text.
    """

    title: str | None
    text: str
    vector: tuple[float, ...]
    encoder: str
    content_hash: str


@dataclass(frozen=True)
class ItemAttributes:
    """An item's plain attributes; None where unknown.

    Attributes:
        categories: most general first.
        brand: of it.
        price: of it.
        category_price: median of the most specific category with enough priced items.
    """

    categories: tuple[str, ...]
    brand: str | None
    price: float | None
    category_price: float | None = None


class OnlineFeatures:
    """The online features of one Feast project, read only; safe to share between threads.

    Args:
        paths: the workspace.
        project: Feast project (`feature_repo.store.project_name`).
        profile: which stores are meant; by default what the environment says now.
        wait_s: longest wait for an answer, where a server answers.

    Raises:
        ConfigError: the environment names no whole profile.
        FeatureError: there is no store, it can't be read (a `StoreDownError` where it does not
            answer), or the project was never published.
    """

    def __init__(
        self,
        paths: Workspace,
        project: str,
        profile: Profile | None = None,
        wait_s: float = _WAIT_S,
    ) -> None:
        self._store = open_online(paths, project, profile, wait_s)
        try:
            known = self._store.views()
        except FeatureError:
            self._store.close()
            raise
        self._social = SOCIAL in known
        if "user_sequence" not in known:
            self._store.close()
            raise FeatureError(
                f"the feature store has no project {project!r}",
                "publish its features first: `ostinato run`",
            )

    def user_history(self, user_id: str, *, surfaces: bool = False) -> UserHistory | None:
        """Return a user's history, or None for a user without one.

        Args:
            user_id: as in the events.
            surfaces: whether to read where the events happened.

        Raises:
            FeatureError: the store can't be read, or the row is damaged.
        """
        return self.user_histories([user_id], surfaces=surfaces)[0]

    def user_histories(
        self, user_ids: Iterable[str], *, surfaces: bool = False
    ) -> list[UserHistory | None]:
        """Return the histories of many users, in order; None for a user without one.

        Args:
            user_ids: as in the events.
            surfaces: whether to read where the events happened.

        Raises:
            FeatureError: the store can't be read, or a row is damaged.
        """
        fields = (*HISTORY_FIELDS, "surfaces") if surfaces else HISTORY_FIELDS
        rows = self.rows("user_sequence", "user_id", user_ids, fields)
        return [None if row is None else _history(row) for row in rows]

    def user_attributes(self, user_id: str) -> dict[str, str] | None:
        """Return what is known of a user besides events, or None for an unknown one."""
        (row,) = self.rows("user_profile", "user_id", [user_id], ["attributes"])
        return None if row is None else json.loads(row["attributes"])

    def followed_took(self, user_id: str) -> dict[str, int] | None:
        """Return by item how many of those whom a user follows took it; None where none is known.

        Also None where the store has no such view: its source had no follow graph, or has not been
        published since it has one.

        Raises:
            FeatureError: the store can't be read.
        """
        if not self._social:
            # One that was published since has the view now; it stays.
            self._social = SOCIAL in self._store.views()
            if not self._social:
                return None
        (row,) = self.rows(SOCIAL, "user_id", [user_id], ["followed"])
        if row is None or row["followed"] is None:
            return None
        return took_in(row["followed"])

    def item_text(self, item_id: str) -> ItemText | None:
        """Return what is said about an item, or None for an unknown one."""
        names = list(ItemText.__dataclass_fields__)
        (row,) = self.rows("item_text", "item_id", [item_id], names)
        return None if row is None else ItemText(**{**row, "vector": tuple(row["vector"])})

    def item_attributes(self, item_id: str) -> ItemAttributes | None:
        """Return an item's plain attributes, or None for an unknown one."""
        names = list(ItemAttributes.__dataclass_fields__)
        (row,) = self.rows("item_attributes", "item_id", [item_id], names)
        if row is None:
            return None
        return attributes_of(row)

    def users(self) -> list[str]:
        """Return the ids of all users who have a history, sorted."""
        return sorted(set(self._store.ids("user_sequence")))

    def item_ids(self) -> list[str]:
        """Return the ids of all items of which something is said, sorted."""
        return sorted(set(self._store.ids("item_text")))

    def rows(
        self, view: str, key: str, ids: Iterable[str], features: Sequence[str] | None = None
    ) -> list[dict[str, Any] | None]:
        """Return the features of a view by name, one dictionary per id; None for an unknown id.

        Args:
            view: name of the feature view.
            key: its join key.
            ids: values of the join key.
            features: names of those that are read; all by default.

        Raises:
            FeatureError: the store can't be read, or lacks this view.
        """
        return self._store.rows(view, key, list(ids), features)

    def close(self) -> None:
        """Close every connection; the reader can't be used any more."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def attributes_of(row: dict[str, Any]) -> ItemAttributes:
    """Return the attributes in a row of `item_attributes`."""
    # Feast's own writer makes NaN of a null number: it passes through pandas on its way.
    price, level = (
        None if row[name] is None or math.isnan(row[name]) else float(row[name])
        for name in ("price", "category_price")
    )
    return ItemAttributes(tuple(row["categories"] or ()), row["brand"], price, level)


def _history(row: dict[str, Any]) -> UserHistory | None:
    """Return the history of a row; None where its lists are null.

    Raises:
        FeatureError: the lists aren't parallel, so they can't belong together.
    """
    lists = [row[name] for name in HISTORY_FIELDS[:4]]
    if all(each is None for each in lists):
        return None
    lengths = [-1 if each is None else len(each) for each in lists]
    if len(set(lengths)) > 1 or row["as_of"] is None:
        told = ", ".join(f"{n} {name}" for n, name in zip(lengths, HISTORY_FIELDS, strict=False))
        raise FeatureError(
            f"the stored history of a user is damaged: {told.replace('-1', 'no')}",
            "publish features again",
        )
    items, actions, times, values = map(tuple, lists)
    surfaces = tuple(row.get("surfaces") or ())
    if surfaces and len(surfaces) != len(items):
        raise FeatureError(
            f"the stored history of a user is damaged: {len(items)} item_ids, {len(surfaces)} "
            "surfaces",
            "publish features again",
        )
    return UserHistory(items, actions, times, values, int(row["as_of"]), surfaces)
