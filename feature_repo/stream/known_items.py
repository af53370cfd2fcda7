"""Which items of a stream the catalogue knows: a new one may be clicked on before it is listed."""

from __future__ import annotations

import time
from collections.abc import Collection

from feature_repo.stores.online_store import OnlineStore
from recommender.errors import FeatureError

_FORGET_UNKNOWN_S = 60.0
"""How long an item that the catalogue lacked is taken as unknown without looking again."""

_MOST_UNKNOWN = 100_000
"""Unknown ids that are remembered: whoever sends made-up ones must not fill the memory."""


class KnownItems:
    """Counts items that the online catalogue lacks; remembers what it has seen there.

    Args:
        store: holds the catalogue in the view `item_attributes`.
    """

    def __init__(self, store: OnlineStore) -> None:
        self._store = store
        self._known: set[str] = set()
        self._unknown: dict[str, float] = {}

    def count_unknown(self, item_ids: Collection[str]) -> int:
        """Return how many of these are not in the catalogue; 0 where there is none yet."""
        now = time.monotonic()
        ask = [
            item
            for item in set(item_ids) - self._known
            if now - self._unknown.get(item, -_FORGET_UNKNOWN_S) >= _FORGET_UNKNOWN_S
        ]
        if ask:
            self._look(ask, now)
        return sum(item in self._unknown for item in item_ids)

    def _look(self, item_ids: list[str], now: float) -> None:
        try:
            rows = self._store.rows("item_attributes", "item_id", item_ids, ["price"])
        except FeatureError:
            return  # a count is no reason to fail; what matters fails where it is written
        if len(self._unknown) > _MOST_UNKNOWN:
            self._unknown.clear()
        for item, row in zip(item_ids, rows, strict=True):
            if row is None:
                self._unknown[item] = now
            else:
                self._unknown.pop(item, None)
                self._known.add(item)
