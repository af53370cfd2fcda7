"""Items as the online feature store knows them: those that came since a model was trained, too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from feature_repo.online import OnlineFeatures, attributes_of
from recommender.tables import FURTHER, ITEMS
from recommender.workspace import Workspace

_PAGE = 1_000
_WAIT_S = 5.0
_DESCRIBED = ["categories", "brand", "price", "further"]
Text = tuple[str | None, tuple[float, ...]]
"""Title and text vector of an item."""


class Items(Protocol):
    """Where items come from; each method raises a `FeatureError` where the store can't be read."""

    def ids(self) -> list[str]:
        """Return the ids of all items, sorted."""
        ...

    def texts(self, ids: Sequence[str]) -> list[Text | None]:
        """Return what is said about items, in order; None for an unknown one."""
        ...

    def encoders(self, ids: Sequence[str]) -> list[str]:
        """Return the encoder (name@revision) of each item's text, in order; "" if unknown."""
        ...

    def categories(self, ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the categories of items, in order."""
        ...

    def described(self, ids: Sequence[str]) -> pa.Table:
        """Return what is known of items beside their text, in canonical columns, in order."""
        ...


class StoreItems:
    """Items of one Feast project.

    Args:
        paths: the workspace; holds the online store where the profile is embedded.
        project: Feast project.
    """

    def __init__(self, paths: Workspace, project: str) -> None:
        self._paths = paths
        self._project = project
        self._features: OnlineFeatures | None = None

    def ids(self) -> list[str]:
        """Return the ids of all items, sorted; see `Items`."""
        return self._open().item_ids()

    def texts(self, ids: Sequence[str]) -> list[Text | None]:
        """Return what is said about items; see `Items`."""
        rows = (
            row
            for page in _pages(ids)
            for row in self._open().rows("item_text", "item_id", page, ["title", "vector"])
        )
        return [None if row is None else (row["title"], tuple(row["vector"] or ())) for row in rows]

    def encoders(self, ids: Sequence[str]) -> list[str]:
        """Return the encoder of each item's text; see `Items`."""
        rows = (
            row
            for page in _pages(ids)
            for row in self._open().rows("item_text", "item_id", page, ["encoder"])
        )
        return [str((row or {}).get("encoder") or "") for row in rows]

    def categories(self, ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the categories of items; see `Items`."""
        rows = (
            row
            for page in _pages(ids)
            for row in self._open().rows("item_attributes", "item_id", page, ["categories"])
        )
        return [tuple((row or {}).get("categories") or ()) for row in rows]

    def described(self, ids: Sequence[str]) -> pa.Table:
        """Return what is known of items beside their text; see `Items`."""
        rows = [
            row or {}
            for page in _pages(ids)
            for row in self._open().rows("item_attributes", "item_id", page, _DESCRIBED)
        ]
        plain = [
            None if not row else attributes_of({**row, "category_price": None}) for row in rows
        ]
        further = [json.loads(row.get("further") or "{}") for row in rows]
        columns = {
            "categories": [None if each is None else list(each.categories) for each in plain],
            "brand": [None if each is None else each.brand for each in plain],
            "price": [None if each is None else each.price for each in plain],
            **{
                name: [list(each.get(name, {}).items()) for each in further]
                for name in ("numbers", "vectors")
            },
        }
        kinds = {field.name: field.type for field in (*ITEMS, *FURTHER["items"])}
        return pa.table({name: pa.array(held, kinds[name]) for name, held in columns.items()})

    def _open(self) -> OnlineFeatures:
        if self._features is None:
            self._features = OnlineFeatures(self._paths, self._project, wait_s=_WAIT_S)
        return self._features


def _pages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    # Between two pages other threads get their turn.
    return (ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE))
