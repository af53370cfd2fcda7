"""A trained model made ready to learn on: on another data set, from where it is.

What the model knows of an item goes with the item, by its id. The words of items that it never saw
are read through the whitening that it was trained with, which is found again from the items that
both know.

Shape letters: I items of the data set, J items of the model, K items that both have, V whitened
text components, W width of the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recommender.errors import TrainingError
from recommender.features.dataset import Dataset
from recommender.model.extended import carried, to_learn
from recommender.model.reads import vectors_of
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.model.whitening_found import Whitening
from recommender.training.examples import Examples

Floats = NDArray[np.float32]

_SAME = 1e-2
"""Largest difference between two whitened vectors of the same words, in deviations."""
_ROUNDS = 8
_FEWEST = 0.5


@dataclass(frozen=True)
class Start:
    """Where a training from a trained model begins.

    Attributes:
        module: on the data set's catalogue; a copy of its own.
        new_I: items that the model had no id part of, and that have events, (I,) bool.
    """

    module: UnifiedTransformer
    new_I: NDArray[np.bool_]


def start_from(
    scorer: TransformerScorer, dataset: Dataset, examples: Examples, *, same_encoder: bool = False
) -> Start:
    """Put a trained model on a data set's catalogue, as of the cut of the examples.

    Args:
        scorer: trained; it stays as it is.
        dataset: its catalogue, and the text vectors of it.
        examples: of the data set before the cut.
        same_encoder: whether the text vectors are known to be of the encoder that the model was
            trained with; otherwise that is found out from the items that both know.

    Raises:
        TrainingError: the vectors are not of the encoder that the model was trained with, or the
            items that both know are too few to tell.
    """
    index = scorer.catalogue.index
    row_I = np.array([index.get(item, -1) for item in dataset.catalogue.ids], np.int64)
    knew_I = np.zeros(len(row_I), bool)
    known_J = scorer.module.tower.known_I.numpy() > 0
    knew_I[row_I >= 0] = known_J[row_I[row_I >= 0]]
    read_IV = _columns(scorer, row_I, dataset, same_encoder)
    moved = carried(scorer, dataset.catalogue, read_IV, examples.latest, examples.known)
    return Start(to_learn(moved), examples.known & ~knew_I)


def _columns(
    scorer: TransformerScorer, row_I: NDArray[np.int64], dataset: Dataset, same_encoder: bool
) -> Floats:
    """Return what the tower reads of the data set's items, as the model was trained to read it."""
    had_JV, reads = scorer.module.tower.text_IV.numpy(), scorer.module.reads
    place = reads.text_columns(had_JV.shape[1])
    parts = [_whitened(had_JV[:, :place], row_I, dataset.text, "text vectors", same_encoder)]
    if reads.items is not None:
        parts.append(reads.items.columns(dataset.items))
        place += parts[-1].shape[1]
    for name, width in reads.vectors.items():
        had_JK = had_JV[:, place : place + width]
        raw_IW = vectors_of(dataset.items, name)
        parts.append(_whitened(had_JK, row_I, raw_IW, f"vectors {name!r}", same_encoder=False))
        place += width
    return np.concatenate(parts, axis=1)


def _whitened(
    had_JV: Floats, row_I: NDArray[np.int64], raw_IW: Floats, what: str, same_encoder: bool
) -> Floats:
    """Return the whitened vectors of the data set's items; as the model has them where they are so.

    A few items may have got other words since: pairs that don't fit are left out, one round after
    the other, until one map leads from most of the others to the model's vectors.
    """
    white_IV = np.zeros((len(row_I), had_JV.shape[1]), np.float32)
    if not np.any(had_JV):
        return white_IV  # the model learned nothing from these
    both = np.flatnonzero(row_I >= 0)
    had_KV, raw_KW = had_JV[row_I[both]], raw_IW[both]
    fitting = np.flatnonzero(np.any(raw_KW != 0, axis=1) & np.any(had_KV != 0, axis=1))
    fewest = max(1, int(_FEWEST * len(fitting)))
    if not same_encoder:
        # An affine map fits any W + 1 pairs: fewer than one more than that are no evidence.
        needed = raw_IW.shape[1] + 2
        if len(fitting) < needed:
            raise TrainingError(
                f"{len(fitting)} items with {what} are known to the model and the data set, and "
                f"{needed} are needed to tell that they are of the encoder it was trained with",
                "train anew (`ostinato run`)",
            )
        fewest = max(fewest, needed)
    for _ in range(_ROUNDS):
        if len(fitting) < fewest:
            break
        whitening = Whitening.between(raw_KW[fitting], had_KV[fitting], check=False)
        error_K = np.abs(whitening(raw_KW[fitting]) - had_KV[fitting]).max(axis=1)
        if error_K.max() <= _SAME:
            white_IV = whitening(raw_IW)
            same = np.abs(white_IV[both] - had_KV).max(axis=1) <= _SAME
            white_IV[both[same]] = had_KV[same]
            return white_IV
        fitting = fitting[error_K <= max(_SAME, float(np.quantile(error_K, 0.9)))]
    raise TrainingError(
        f"the {what} of the data set ({len(both)} of its items are known to the model) are "
        "not those that the model was trained on",
        "their encoder, or what most items say, has changed: train anew (`ostinato run`)",
    )


def own_parts(module: UnifiedTransformer, rows_I: NDArray[np.bool_]) -> None:
    """Let the items' own parts learn, those of some items only.

    Args:
        module: whose id vectors, popularity rests and, with the `target` head, what each item
            has of its own in it are to learn.
        rows_I: of which items, (I,).

    Raises:
        TrainingError: items share rows of the id table, and not all of them are to learn.
    """
    if module.tower.buckets_I2 is not None and rows_I.all():
        for name in module.holders():
            module.get_parameter(name).requires_grad_(True)
        return
    mine_I = torch.from_numpy(rows_I.astype(np.float32))
    if module.tower.buckets_I2 is not None:
        raise TrainingError(
            "items whose ids are hashed share their parts, so that those of some can't learn alone",
            "set refresh.items: all, or train without model.id_buckets",
        )
    for name in module.holders():
        parameter = module.get_parameter(name)
        parameter.requires_grad_(True)
        parameter.register_hook(partial(_of_rows, mine_I))  # type: ignore[no-untyped-call]


def _of_rows(mine_I: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of some rows of a table, zeros for the others."""
    mine_I = mine_I.to(gradient.device)
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        rows_R, values = gradient.indices()[0], gradient.values()
        kept_R = mine_I[rows_R] > 0
        return torch.sparse_coo_tensor(
            rows_R[None, kept_R], values[kept_R], gradient.shape, is_coalesced=True
        )
    return gradient * mine_I.view(-1, *[1] * (gradient.ndim - 1))
