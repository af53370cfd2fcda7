"""Items as the online feature store knows them: those that came since a model was trained, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from feature_repo.online import OnlineFeatures
from recommender.workspace import Workspace

_PAGE = 1_000
_WAIT_S = 5.0
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

    def categories(self, ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the categories of items, in order."""
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

    def categories(self, ids: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the categories of items; see `Items`."""
        rows = (
            row
            for page in _pages(ids)
            for row in self._open().rows("item_attributes", "item_id", page, ["categories"])
        )
        return [tuple((row or {}).get("categories") or ()) for row in rows]

    def _open(self) -> OnlineFeatures:
        if self._features is None:
            self._features = OnlineFeatures(self._paths, self._project, wait_s=_WAIT_S)
        return self._features


def _pages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    # Between two pages other threads get their turn.
    return (ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE))
