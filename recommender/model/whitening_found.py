"""A model's whitening, found again from pairs of vectors before and after it.

Shape letters: I items of the model, K some of them, V whitened components, W width of the encoder,
N any vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_CUT = 1e-5
"""Directions in which vectors differ by less than this share of the largest count as none."""
_FIT = 1e-2
"""Largest error of a whitening that was found again, in units of a component's deviation."""


class OtherTextError(ValueError):
    """Vectors of items are not those that the model was trained on."""


class Whitening:
    """An affine map of text vectors.

    Args:
        matrix_WV: linear part.
        offset_V: what zeros would become.
    """

    def __init__(self, matrix_WV: NDArray[Any], offset_V: NDArray[Any]) -> None:
        self._matrix_WV = matrix_WV
        self._offset_V = offset_V

    @classmethod
    def between(cls, text_KW: Floats, white_KV: Floats, *, check: bool = True) -> Whitening:
        """Return the map from one to the other, of least norm where several would do.

        Args:
            text_KW: vectors before, some of them of words.
            white_KV: the same after.
            check: whether the map must fit all of them.

        Raises:
            OtherTextError: there is none.
        """
        worded_K = np.any(text_KW != 0, axis=1)
        text_KW, white_KV = text_KW[worded_K].astype(np.float64), white_KV[worded_K]
        if not len(text_KW):
            raise OtherTextError("none of the items has a text vector")
        mean_W = text_KW.mean(axis=0)
        offset_V = white_KV.mean(axis=0, dtype=np.float64)
        matrix_WV, *_ = np.linalg.lstsq(text_KW - mean_W, white_KV - offset_V, rcond=_CUT)
        error = np.abs((text_KW - mean_W) @ matrix_WV + offset_V - white_KV).max()
        if check and error > _FIT:
            raise OtherTextError(
                f"text vectors of the feature store are not those that the model was trained on: "
                f"they differ by {error:.2g}"
            )
        return cls(matrix_WV, offset_V - mean_W @ matrix_WV)

    def __call__(self, text_NW: Floats) -> Floats:
        """Return vectors whitened, (N, V); zeros stay zeros."""
        white_NV = text_NW.astype(np.float64) @ self._matrix_WV + self._offset_V
        white_NV[~np.any(text_NW != 0, axis=1)] = 0
        return np.asarray(white_NV, np.float32)


def few(raw_KW: Floats) -> int:
    """Return how many different vectors there are if an affine map would fit any; else 0.

    It would unless one of them lies among the others, in the space that those span.

    Args:
        raw_KW: as the encoder made them; zeros where there are no words.
    """
    different = np.unique(raw_KW[np.any(raw_KW != 0, axis=1)], axis=0).astype(np.float64)
    if len(different) >= raw_KW.shape[1] + 2:
        return 0
    spread = np.linalg.svd(different - different.mean(axis=0), compute_uv=False)
    rank = int((spread > _CUT * spread.max(initial=0.0)).sum())
    return len(different) if len(different) < rank + 2 else 0


def must_be_all(white_IV: Floats, rows: NDArray[np.int64], raw_KW: Floats, what: str) -> None:
    """Refuse few vectors that are not those of all items that a model has such vectors of.

    Args:
        white_IV: what the model has of its items.
        rows: of some of them, K.
        raw_KW: their vectors as the encoder made them; zeros where there are none.
        what: to call them.

    Raises:
        OtherTextError: some are missing.
    """
    has_I = np.any(white_IV != 0, axis=1)
    told_I = np.zeros_like(has_I)
    told_I[rows[np.any(raw_KW != 0, axis=1)]] = True
    if missing := int((has_I & ~told_I).sum()):
        raise OtherTextError(
            f"the feature store lacks the {what} of {missing} of {int(has_I.sum())} items that the "
            "model was trained with; how it reads those of new items can't be told from so few"
        )
