"""A trained Transformer with another catalogue: with items it was not trained on, or with few.

Shape letters: N new items, I items known so far, K some of them, V whitened text components,
W width of the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.features.sequences import Catalogue
from recommender.model.id_buckets import id_buckets
from recommender.model.reads import vectors_of
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.model.whitening_found import OtherTextError, Whitening, few, must_be_all
from recommender.training.popularity import SMOOTHING

Floats = NDArray[np.float32]

_TEXT, _POPULARITY = "tower.text_IV", "popularity.popularity_IF"
# What the model has learned of each item, or knows of it: nothing, for one that it never saw.
_UNKNOWN = ("tower.id_ID", "tower.known_I", "popularity.known_I", "popularity.rest_I")
# Of a ranking head that has such a part.
_RANKED = "action.target.own_ID"
_IDS, _BUCKETS = "tower.id_ID", "tower.buckets_I2"


def part_of(scorer: TransformerScorer, rows_K: NDArray[np.int64]) -> TransformerScorer:
    """Return the scorer of some items.

    An item's score does not depend on which others there are, so they have the scores that they
    have in the whole catalogue.

    Args:
        scorer: trained.
        rows_K: of its catalogue, different ones.
    """
    weights = dict(scorer.weights())
    for name in (_TEXT, _POPULARITY, *_of_items(weights)):
        weights[name] = weights[name][rows_K]
    ids = tuple(scorer.catalogue.ids[row] for row in rows_K)
    # Not of the scorer's own class: an engine may need more than weights.
    return TransformerScorer.restore(scorer.settings(), weights, Catalogue(ids))


def extended(scorer: TransformerScorer, ids: Sequence[str], white_NV: Floats) -> TransformerScorer:
    """Return the scorer with new items, which it knows by what is said of them alone.

    Everything about the items so far stays as it is, score for score.

    Args:
        scorer: trained.
        ids: of the new items, N.
        white_NV: their text, whitened as the model's (`whitening_of`); zeros without words; and
            the other columns that the model reads (`beside_text`).
    """
    weights = dict(scorer.weights())
    count = len(ids)
    if _BUCKETS in weights:
        # The rows of the table that they would have learned in, if they had been there.
        mine = id_buckets(ids, len(weights[_IDS]))
        weights[_BUCKETS] = np.concatenate([weights[_BUCKETS], mine])
    weights[_TEXT] = np.concatenate([weights[_TEXT], white_NV.astype(np.float32)])
    floor = np.full((count, weights[_POPULARITY].shape[1]), np.log(SMOOTHING), np.float32)
    weights[_POPULARITY] = np.concatenate([weights[_POPULARITY], floor])
    for name in set(_of_items(weights)) - {_BUCKETS}:
        nothing = np.zeros((count, *weights[name].shape[1:]), weights[name].dtype)
        weights[name] = np.concatenate([weights[name], nothing])
    # Not of the scorer's own class: an engine may need more than weights.
    return TransformerScorer.restore(
        scorer.settings(), weights, Catalogue((*scorer.catalogue.ids, *ids))
    )


def carried(
    scorer: TransformerScorer,
    catalogue: Catalogue,
    white_IV: Floats,
    popularity_IF: Floats,
    seen_I: NDArray[np.bool_],
) -> TransformerScorer:
    """Return the scorer on another catalogue, with what it knows of the items that both have.

    Args:
        scorer: trained.
        catalogue: I items, in any order; what it lacks is forgotten.
        white_IV: their text, whitened as the model's; zeros without words; and the other columns
            that the model reads.
        popularity_IF: their log popularity at another moment.
        seen_I: items that may have an id part from here on, which begins as zeros; those that
            have one already keep it.
    """
    index = scorer.catalogue.index
    row_I = np.array([index.get(item, -1) for item in catalogue.ids], np.int64)
    weights = dict(scorer.weights())
    for name in set(_of_items(weights)) - {_BUCKETS}:
        moved = weights[name][np.maximum(row_I, 0)]
        moved[row_I < 0] = 0
        weights[name] = moved
    if _BUCKETS in weights:
        weights[_BUCKETS] = id_buckets(catalogue.ids, len(weights[_IDS]))
    known = np.maximum(weights["tower.known_I"], seen_I).astype(np.float32)
    weights |= {_TEXT: white_IV, _POPULARITY: popularity_IF}
    weights |= {"tower.known_I": known, "popularity.known_I": known}
    return TransformerScorer.restore(scorer.settings(), weights, catalogue)


def rows_for(scorer: TransformerScorer, catalogue: Catalogue) -> UnifiedTransformer:
    """Return the module with rows for another catalogue: what adapters of a refresh belong on.

    What it knows of items that both have goes with them. Text and popularity are zeros until the
    adapters' files, which hold them whole, are read (`recommender.model.adapters`).

    Args:
        scorer: the version that the adapters name; it stays as it is.
        catalogue: of the refreshed version.
    """
    tower, popularity_IF = scorer.module.tower, scorer.module.popularity.popularity_IF
    nothing_IV = np.zeros((len(catalogue), tower.text_IV.shape[1]), np.float32)
    nothing_IF = np.zeros((len(catalogue), popularity_IF.shape[1]), np.float32)
    unseen_I = np.zeros(len(catalogue), bool)
    return to_learn(carried(scorer, catalogue, nothing_IV, nothing_IF, unseen_I))


def to_learn(scorer: TransformerScorer) -> UnifiedTransformer:
    """Return the module of a scorer of one's own, whose weights may have gradients."""
    module = scorer.module
    # What answers was made without gradients; what learns is made anew.
    module.load_state_dict({name: value.clone() for name, value in module.state_dict().items()})
    return module


def _of_items(weights: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Return the names of what the model has a row of for each item, text and popularity aside."""
    names = (*_UNKNOWN, _RANKED) if _RANKED in weights else _UNKNOWN
    # Where ids are hashed, the rows of their table are nobody's own.
    return tuple(_BUCKETS if name == _IDS and _BUCKETS in weights else name for name in names)


def whitening_of(
    scorer: TransformerScorer,
    rows: NDArray[np.int64],
    text_KW: Floats,
    *,
    same_encoder: bool = False,
) -> Whitening:
    """Find the whitening of a model again, from items of which both sides are known.

    Whitening is affine (`recommender.model.whitening`), so pairs of vectors before and after it
    tell it; in directions in which no known item differs from another it is zero.

    An affine map fits any W + 1 pairs, whatever encoder the vectors are of, and says nothing of
    directions that they lack. So few are enough only where the encoder is known to be the model's
    and they are all items that the model knows words of: then it never met another direction.

    Args:
        scorer: trained.
        rows: of some items of its catalogue, K, different ones.
        text_KW: their text vectors as the encoder made them.
        same_encoder: whether that is known to be the one that the model was trained with.

    Raises:
        OtherTextError: no affine map leads from these vectors to the model's, so they are of
            another encoder or of other texts; or they are too few to tell.
    """
    white_IV = text_part(scorer)
    found = Whitening.between(text_KW, white_IV[rows])
    if (pairs := few(text_KW)) and white_IV.any():
        if not same_encoder:
            raise OtherTextError(
                f"{pairs} of the model's items have text vectors in the feature store, and "
                f"{text_KW.shape[1] + 2} different ones are needed to tell that they are of the "
                "encoder that it was trained with"
            )
        must_be_all(white_IV, rows, text_KW, "text vectors")
    return found


def text_part(scorer: TransformerScorer) -> Floats:
    """Return the whitened text of a model's items, without its tower's other columns, (I, V)."""
    columns_IX = np.asarray(scorer.module.tower.text_IV.numpy(), np.float32)
    return columns_IX[:, : scorer.module.reads.text_columns(columns_IX.shape[1])]


def beside_text(
    scorer: TransformerScorer, rows_K: NDArray[np.int64], known: pa.Table, items: pa.Table
) -> Floats:
    """Return what a model reads of items beside their text, (N, columns).

    Args:
        scorer: trained.
        rows_K: of some items of its catalogue, for which further vectors were whitened; all of
            them, or many more than such a vector is wide.
        known: those items, in canonical columns; read only where there are further vectors.
        items: N of any, in canonical columns.

    Raises:
        OtherTextError: no affine map leads from these further vectors to the model's, or the items
            are too few to find it.
    """
    reads = scorer.module.reads
    columns_IX = scorer.module.tower.text_IV.numpy()
    parts = [np.zeros((items.num_rows, 0), np.float32)]
    if reads.items is not None:
        parts.append(reads.items.columns(items))
    start = columns_IX.shape[1] - sum(reads.vectors.values())
    for name, width in reads.vectors.items():
        white_KV = columns_IX[rows_K, start : start + width]
        start += width
        raw_NW = vectors_of(items, name)
        if np.any(raw_NW) and np.any(white_KV):
            raw_KW = vectors_of(known, name)
            parts.append(Whitening.between(raw_KW, white_KV)(raw_NW))
            if few(raw_KW):
                must_be_all(columns_IX[:, start - width : start], rows_K, raw_KW, f"{name!r}")
        else:
            parts.append(np.zeros((items.num_rows, width), np.float32))
    return np.concatenate(parts, axis=1)
