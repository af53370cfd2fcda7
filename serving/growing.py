"""How served models take in items that came after they were trained: by what is said of them.

Shape letters: N new items, K known items, W width of the text encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from recommender.ensemble import Ensemble, unified_of
from recommender.evaluation.champion import Aligned
from recommender.features.sequences import Catalogue
from recommender.scoring import Floats, ReadsText, Scorer
from serving.items import Items, Text

if TYPE_CHECKING:
    from recommender.model.scorer import TransformerScorer
    from recommender.model.whitening_found import Whitening

Growth = Callable[[dict[str, Text]], Scorer]
"""New items by id, to the scorer that knows them, too."""

_PAIRS = 4
"""Known items per dimension of the text that a model's reading of text is found from."""
_LOOKED_AT = 64
_NEAR = 1e-3
"""Largest difference of a component of two vectors of length 1 that count as the same."""


def growth_of(scorer: Scorer, items: Items, encoder: str = "") -> Growth | None:
    """Return how a scorer takes in new items; None for one that reads no text.

    An ensemble grows if its unified model does.

    Args:
        scorer: as it was signed.
        items: of the feature store, where the texts of known items are looked up, too.
        encoder: name@revision of the text encoder that the scorer was trained with; "": not known,
            and found out from the texts of its items, if they are many enough.
    """
    if scorer.kind == "transformer":
        return _Whitened(cast("TransformerScorer", scorer), items, encoder)
    if isinstance(scorer, ReadsText):
        return _AsEncoded(scorer, items)
    if isinstance(scorer, Ensemble) and unified_of(scorer).kind == "transformer":
        return _Together(scorer, items, encoder)
    return None


class _Whitened:
    """A Transformer reads text that is whitened as its own was, which is found out once."""

    def __init__(self, scorer: TransformerScorer, items: Items, encoder: str) -> None:
        self._scorer = scorer
        self._items = items
        self._encoder = encoder
        self._whitening: Whitening | None = None

    def __call__(self, new: dict[str, Text]) -> Scorer:
        from recommender.model.extended import extended

        if self._whitening is None:
            self._whitening = self._found()
        columns_NV = self._whitening(_vectors(list(new.values())))
        reads = self._scorer.module.reads
        if reads.items is not None or reads.vectors:
            columns_NV = np.concatenate([columns_NV, self._beside_text(list(new))], axis=1)
        return extended(self._scorer, list(new), columns_NV)

    def _beside_text(self, new: list[str]) -> Floats:
        from recommender.model.extended import beside_text

        ids, reads = self._scorer.catalogue.ids, self._scorer.module.reads
        # As many as tell a whitening; none where nothing was whitened.
        most = _PAIRS * 1_024 if reads.vectors else 0
        rows = np.unique(np.linspace(0, len(ids) - 1, min(len(ids), most)).astype(np.int64))
        known = self._items.described([ids[row] for row in rows])
        return beside_text(self._scorer, rows, known, self._items.described(new))

    def _found(self) -> Whitening:
        from recommender.model.extended import whitening_of

        ids = self._scorer.catalogue.ids
        _, some = _known(self._items, ids, _LOOKED_AT)
        width = some.shape[1] if some.ndim > 1 else 1_024
        rows, text_KW = _known(self._items, ids, _PAIRS * width)
        if len(rows) < width + 2:
            # Few of those looked at are in the store: of the others, some may be.
            rows, text_KW = _known(self._items, ids, len(ids))
        named = set(self._items.encoders([ids[row] for row in rows]))
        same = bool(self._encoder) and named == {self._encoder}
        return whitening_of(self._scorer, rows, text_KW, same_encoder=same)


class _AsEncoded:
    """A ranking by text reads vectors as they are, if they are of the encoder that it knows."""

    def __init__(self, scorer: ReadsText, items: Items) -> None:
        self._scorer = scorer
        self._items = items
        self._checked = False

    def __call__(self, new: dict[str, Text]) -> Scorer:
        if not self._checked:
            self._check()
        titles = [title or item for item, (title, _) in new.items()]
        return self._scorer.with_items(list(new), titles, _vectors(list(new.values())))

    def _check(self) -> None:
        from recommender.model.whitening_found import OtherTextError

        rows, text_KW = _known(self._items, self._scorer.catalogue.ids, _LOOKED_AT)
        own_KW = self._scorer.text_vectors()[rows]
        if own_KW.shape != text_KW.shape or not np.allclose(own_KW, text_KW, atol=_NEAR):
            raise OtherTextError(
                "text vectors of the feature store are not those that the model was trained on"
            )
        self._checked = True


class _Together:
    """An ensemble grows by its members; those that read no text know nothing of new items.

    Such a member places them behind all that it knows and doesn't see them in histories.
    """

    def __init__(self, ensemble: Ensemble, items: Items, encoder: str) -> None:
        self._ensemble = ensemble
        self._grow = [growth_of(each.scorer, items, encoder) for each in ensemble.members]

    def __call__(self, new: dict[str, Text]) -> Scorer:
        catalogue = Catalogue((*self._ensemble.catalogue.ids, *new))
        return self._ensemble.with_scorers(
            [
                grow(new) if grow else Aligned(each.scorer, catalogue)
                for each, grow in zip(self._ensemble.members, self._grow, strict=True)
            ]
        )


def _known(items: Items, ids: Sequence[str], most: int) -> tuple[NDArray[np.int64], Floats]:
    """Return rows of the catalogue that the store knows, and their text, (K,) and (K, W)."""
    rows = np.unique(np.linspace(0, len(ids) - 1, min(len(ids), most)).astype(np.int64))
    told = items.texts([ids[row] for row in rows])
    kept = [place for place, text in enumerate(told) if text is not None]
    return rows[kept], _vectors([text for text in told if text])


def _vectors(texts: Sequence[Text]) -> Floats:
    return np.array([vector for _, vector in texts], np.float32)
