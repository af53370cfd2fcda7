"""Keeping a served catalogue up to date: new items by their text, categories of all of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from recommender.artifact import Model
from serving.growing import growth_of
from serving.items import Items, Text
from serving.shelf import Shelf

logger = logging.getLogger("ostinato.refresh")

_FIRST_WAIT_S = 5.0


class Refresher:
    """Asks the feature store for items in rounds, in a thread of its own.

    A round that fails leaves everything as it was, is counted, and is tried again in time.

    Args:
        model: as it was signed.
        items: of the feature store.
        every_s: between two rounds.
        take: is given the model with all items, and their shelf, when something has changed.
        encoder: name@revision of the text encoder that the model was trained with; "": not known.
    """

    def __init__(
        self,
        model: Model,
        items: Items,
        every_s: float,
        take: Callable[[Model, Shelf], None],
        encoder: str = "",
    ) -> None:
        self._model = model
        self._items = items
        self._every_s = every_s
        self._take = take
        self._grow = growth_of(model.scorer, items, encoder)
        self._new: dict[str, Text] = {}
        self._categories: list[tuple[str, ...]] | None = None
        self._extended = model
        self._first = threading.Event()
        self._ended = threading.Event()
        self.rounds = 0
        self.failures = 0
        self.failure: str | None = None

    def start(self) -> None:
        """Begin, and wait a little for the first round: a store that is there answers in time."""
        threading.Thread(target=self._run, name="refresh", daemon=True).start()
        self._first.wait(_FIRST_WAIT_S)

    def stop(self) -> None:
        """End after the round that is under way."""
        self._ended.set()

    def once(self) -> bool:
        """Do one round; return whether something has changed.

        Raises:
            FeatureError: the store can't be read.
            OtherTextError: its texts are not of the encoder that the model was trained with, or
                too few to tell.
        """
        known = self._model.scorer.catalogue.index
        new = [item for item in self._items.ids() if item not in known]
        texts = self._new
        if self._grow is not None:
            told = zip(new, self._items.texts(new), strict=True)
            texts = {item: text for item, text in told if text is not None}
        changed = texts != self._new
        model = self._with(texts) if changed else self._extended
        categories = self._items.categories(model.scorer.catalogue.ids)
        changed |= categories != self._categories
        if changed:
            self._take(model, Shelf.of(categories))
        self._new, self._categories, self._extended = texts, categories, model
        return changed

    def _run(self) -> None:
        while True:
            try:
                self.once()
            except Exception as error:  # noqa: BLE001 the old catalogue goes on being served
                self.failures += 1
                self.failure = str(error)
                logger.warning("the catalogue could not be refreshed: %s", error)
            self.rounds += 1
            self._first.set()
            if self._ended.wait(self._every_s):
                return

    def _with(self, texts: dict[str, Text]) -> Model:
        if not texts or self._grow is None:
            return self._model
        grown = self._grow(texts)
        titles = tuple(title or item for item, (title, _) in texts.items())
        cold = self._model.cold and self._model.cold.with_items(len(texts))
        logger.info("%d items came since the model was trained", len(texts))
        return replace(self._model, scorer=grown, titles=(*self._model.titles, *titles), cold=cold)
