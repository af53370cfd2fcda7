"""What the neural rivals know of items: an id vector each, and what is written about them.

Shape letters: I items, V columns of content, F lengths of memory, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recommender.config.model import ModelConfig
from recommender.features.dataset import Dataset
from recommender.model.reads import item_columns

_SMALL = 0.02


@dataclass(frozen=True)
class ItemFacts:
    """The catalogue as of a cut.

    Attributes:
        content_IV: text, attributes and further vectors, (I, V) float32; no columns where a
            rival reads ids alone.
        known_I: whether the item has a history event before the cut, (I,) bool.
        latest_IF: log popularity at the cut, where a rival reads it; else without columns.
    """

    content_IV: Tensor
    known_I: Tensor
    latest_IF: Tensor

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        known: NDArray[np.bool_],
        model: ModelConfig,
        *,
        content: bool,
        popularity: NDArray[np.float32] | None = None,
    ) -> Self:
        """Gather them; the columns are those that the unified model reads of items.

        Args:
            dataset: text vectors and attributes.
            known: items with history before the cut, (I,) bool.
            model: says which modalities are read.
            content: whether anything but ids is read.
            popularity: at the cut, (I, F), where it is read.
        """
        columns = np.zeros((len(known), 0), np.float32)
        if content:
            columns, _, _ = item_columns(dataset.items, dataset.text, known, model)
        if popularity is None:
            popularity = np.zeros((len(known), 0), np.float32)
        return cls(torch.from_numpy(columns), torch.from_numpy(known), torch.from_numpy(popularity))


class ItemVectors(nn.Module):
    """The item vectors: id embedding plus projected content.

    An item unknown in training has no id part. Ids are dropped for a share of the items in every
    training step where there is content, so that content alone can stand for an item.

    Args:
        facts: of the items.
        width: D.
        id_dropout: that share.
    """

    content_IV: Tensor
    known_I: Tensor

    def __init__(self, facts: ItemFacts, width: int, id_dropout: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("content_IV", facts.content_IV)
        self.register_buffer("known_I", facts.known_I.to(torch.float32))
        self.id_ID = nn.Parameter(torch.randn(len(facts.known_I), width) * _SMALL)
        columns = facts.content_IV.shape[1]
        self.projection = nn.Linear(columns, width, bias=False) if columns else None
        self.id_dropout = id_dropout if columns else 0.0

    def forward(self) -> Tensor:
        """Return the vectors of the whole catalogue, (I, D)."""
        keep_I = self.known_I
        if self.training and self.id_dropout:
            keep_I = keep_I * (torch.rand_like(keep_I) >= self.id_dropout)
        items_ID = keep_I[:, None] * self.id_ID
        return items_ID if self.projection is None else items_ID + self.projection(self.content_IV)


def small_embedding(count: int, width: int) -> nn.Embedding:
    """Return an embedding whose rows start close to nought."""
    embedding = nn.Embedding(count, width)
    nn.init.normal_(embedding.weight, std=_SMALL)
    return embedding
