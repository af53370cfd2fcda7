"""The joint loss of one batch: the next item over all known items, and the next action.

Shape letters: C contexts, K contexts with item targets, N known items, I items, D width, M action
targets, P (context, item) pairs, X slices of time, F popularity features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from recommender.model.heads import Pairs
from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch
from recommender.training.examples import Examples
from recommender.training.losses import Adjustments, Targets, catalogue_cross_entropy

_LOGITS_AT_ONCE = 2**20


class Objective:
    """Computes the losses of batches of the same examples.

    The softmax is over the items known before the cut: an item that was not there could not have
    been chosen. Where seen items are never recommended again, they are taken out of the softmax.

    Args:
        examples: what the batches are cut from.
        action_weight: of the action loss; with 0 it is not computed.
    """

    def __init__(self, examples: Examples, action_weight: float) -> None:
        self.exclude_seen = examples.exclude_seen
        self.action_weight = action_weight
        self.known_N = torch.from_numpy(np.flatnonzero(examples.known))
        self.column_I = torch.zeros(len(examples.known), dtype=torch.int64)
        self.column_I[self.known_N] = torch.arange(len(self.known_N))
        self.popularity_XNF = torch.from_numpy(
            np.ascontiguousarray(examples.popularity[:, examples.known])
        )

    def __call__(self, module: UnifiedTransformer, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean next-item and next-action cross-entropy, nats."""
        items_ID = module.item_vectors()
        query_CD = module.queries(items_ID, batch.histories, batch.contexts)
        item_loss = self._item_loss(module, batch, items_ID, query_CD)
        if not self.action_weight:
            return item_loss, torch.zeros(())
        logits_MA = module.action(query_CD[batch.action_context], items_ID[batch.action_item])
        return item_loss, nn.functional.cross_entropy(logits_MA, batch.action)

    def _item_loss(
        self, module: UnifiedTransformer, batch: Batch, items_ID: Tensor, query_CD: Tensor
    ) -> Tensor:
        if not len(batch.asked):
            return query_CD.sum() * 0
        contexts = batch.contexts.of(batch.asked)
        query_KD = query_CD[batch.asked]
        pairs = Pairs.of(batch.histories.items, contexts)
        if self.exclude_seen:
            value_P = torch.full((len(pairs.item),), float("-inf"))
        elif module.repeats is not None:
            value_P = module.repeats(pairs, contexts, batch.histories.times, query_KD, items_ID)
        else:
            value_P = torch.zeros(len(pairs.item))
        total = catalogue_cross_entropy(
            module.scaled(query_KD),
            items_ID[self.known_N],
            module.popularity(self.popularity_XNF, self.known_N),
            batch.slice,
            Adjustments(pairs.context, self.column_I[pairs.item], value_P),
            Targets(batch.targets.context, self.column_I[batch.targets.item], batch.targets.weight),
            _LOGITS_AT_ONCE,
        )
        return total / batch.targets.weight.sum()
