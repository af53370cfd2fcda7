"""Text vectors made ready for a small model: centred, decorrelated, fewer components.

Shape letters: I items, W width of the encoder, V components kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_RIDGE = 1e-2


def whiten(text_IW: Floats, known_I: NDArray[np.bool_], components: int) -> Floats:
    """Project text vectors onto their principal components, each of about unit variance.

    The projection is found on the items known in training and applied to all of them. The ridge
    keeps components that carry next to nothing from being blown up to noise.

    Args:
        text_IW: one vector per item; zeros where an item has no words.
        known_I: which items the projection is found on; all of them if none is known.
        components: V at most; fewer if the vectors have fewer dimensions.

    Returns:
        (I, V) float32, rows of zeros where the vector was zero.
    """
    worded_I = np.any(text_IW != 0, axis=1)
    basis_I = worded_I & known_I if np.any(worded_I & known_I) else worded_I
    components = min(components, text_IW.shape[1])
    if not basis_I.any():
        return np.zeros((len(text_IW), components), np.float32)
    mean_W = text_IW[basis_I].mean(axis=0, dtype=np.float64)
    centred_IW = text_IW.astype(np.float64) - mean_W
    covariance_WW = centred_IW[basis_I].T @ centred_IW[basis_I] / basis_I.sum()
    variance_W, axes_WW = np.linalg.eigh(covariance_WW)
    # Largest first; the sign of an axis is arbitrary, so its largest entry is made positive.
    variance_V, axes_WV = variance_W[::-1][:components], axes_WW[:, ::-1][:, :components]
    largest_V = np.take_along_axis(axes_WV, np.abs(axes_WV).argmax(0)[None, :], 0)
    axes_WV = axes_WV * np.sign(largest_V)
    floor = _RIDGE * max(float(variance_V[0]), 1e-12)
    white_IV: NDArray[np.float64] = (
        centred_IW @ axes_WV / np.sqrt(np.maximum(variance_V, 0) + floor)
    )
    white_IV[~worded_I] = 0
    return white_IV.astype(np.float32)
