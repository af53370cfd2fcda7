"""Losses that need no outcome: hidden items, histories changed twice, items seen twice.

All compare what one batch holds, so that they cost what the batch does, whatever the catalogue. A
large batch may hold most of a catalogue, so what is compared is looked at in chunks.

Shape letters: B histories, T events in the longest of them, S = T + 1 states, N items of the batch,
D width, M hidden events, K items with words and an id part.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from recommender.config.self_supervision import SelfSupervisionConfig
from recommender.model.padded import Padded
from recommender.model.transformer import UnifiedTransformer
from recommender.training.augmentation import View, changed, hidden, nearest
from recommender.training.batches import Batch
from recommender.training.losses import LOGITS_AT_ONCE, cross_entropy


class SelfSupervision:
    """Computes these losses.

    Args:
        config: what they weigh, and how histories are changed.
    """

    def __init__(self, config: SelfSupervisionConfig) -> None:
        self.config = config

    def __call__(self, module: UnifiedTransformer, batch: Batch) -> Tensor:
        """Return their weighted sum."""
        config, total = self.config, module.log_scale.new_zeros(())
        lengths_B = (batch.histories.actions > 0).sum(dim=1)
        long = lengths_B > 0
        if not long.any():
            return total
        histories = _rows(batch.histories, long)
        lengths_B = lengths_B[long]
        # Padding names row 0, which is an item of the batch only where somebody had it.
        real_BT = histories.actions > 0
        rows_N, places = torch.unique(histories.items[real_BT], return_inverse=True)
        histories = replace(
            histories, items=torch.zeros_like(histories.items).masked_scatter(real_BT, places)
        )
        if config.alignment:
            total = total + config.alignment * self.alignment(module, rows_N)
        if not config.masked and not config.contrastive:
            return total
        items_ND = module.item_vectors(rows_N)
        # What is hidden is read as nothing at all.
        read_ND = torch.cat([items_ND, items_ND.new_zeros(1, items_ND.shape[1])])
        if config.masked:
            loss = self.masked(module, items_ND, read_ND, histories, lengths_B)
            total = total + config.masked * loss
        if config.contrastive:
            neighbour_N = nearest(module.tower.text_IV[rows_N])
            views = [changed(histories, lengths_B, neighbour_N, config) for _ in range(2)]
            total = total + config.contrastive * self.contrastive(module, read_ND, *views)
        return total

    def masked(
        self,
        module: UnifiedTransformer,
        items_ND: Tensor,
        read_ND: Tensor,
        histories: Padded,
        lengths_B: Tensor,
    ) -> Tensor:
        """Return the mean cross-entropy of hidden items among the batch's, nats.

        The body is causal, so a hidden item is named from what lay before it and from its event's
        action and time; in BERT4Rec (Sun et al. 2019) what came after helps, too.

        Args:
            module: in training.
            items_ND: vectors of the batch's items.
            read_ND: the same, and nothing.
            histories: whose items are places among the batch's.
            lengths_B: events of each.
        """
        hidden_BT = hidden(lengths_B, histories.events, self.config.share)
        if not hidden_BT.any():
            return items_ND.sum() * 0
        struck = replace(histories, items=histories.items.masked_fill(hidden_BT, len(items_ND)))
        states_BSD = module.states(read_ND, struck)
        named_MD = nn.functional.rms_norm(states_BSD[:, 1:][hidden_BT], items_ND.shape[1:])
        wanted_M = histories.items[hidden_BT]
        return cross_entropy(module.scaled(named_MD), items_ND, wanted_M, LOGITS_AT_ONCE)

    def contrastive(
        self, module: UnifiedTransformer, read_ND: Tensor, one: View, other: View
    ) -> Tensor:
        """Return InfoNCE between two views of each history (Oord et al. 2018), both ways.

        Args:
            module: in training.
            read_ND: vectors of the batch's items, and nothing.
            one: the histories, changed.
            other: the same, changed again.
        """
        one_BD, other_BD = (self._ends(module, read_ND, view) for view in (one, other))
        return _told_apart(one_BD, other_BD, self.config.temperature)

    def alignment(self, module: UnifiedTransformer, rows_N: Tensor) -> Tensor:
        """Return InfoNCE between the words and the id parts of the batch's items, both ways.

        Args:
            module: whose item tower is asked.
            rows_N: of the batch's items, distinct.
        """
        tower = module.tower
        both_N = (tower.known_I[rows_N] > 0) & (tower.text_IV[rows_N].abs().sum(dim=1) > 0)
        rows_K = rows_N[both_N]
        if len(rows_K) < 2:
            return module.log_scale.new_zeros(())
        words_KD = nn.functional.linear(tower.text_IV[rows_K], tower.projection_DV)
        return _told_apart(words_KD, tower.id_parts(rows_K), self.config.temperature)

    @staticmethod
    def _ends(module: UnifiedTransformer, read_ND: Tensor, view: View) -> Tensor:
        states_BSD = module.states(read_ND, view.histories)
        return states_BSD[torch.arange(len(states_BSD), device=states_BSD.device), view.lengths]


def _told_apart(one_XD: Tensor, other_XD: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of finding each row's own partner, both ways, nats."""
    one_XD, other_XD = (nn.functional.normalize(each, dim=1) for each in (one_XD, other_XD))
    own_X = torch.arange(len(one_XD), device=one_XD.device)
    # Each way by itself: to keep the logits of one for the other would be to hold them all.
    there = cross_entropy(one_XD / temperature, other_XD, own_X, LOGITS_AT_ONCE)
    return (there + cross_entropy(other_XD / temperature, one_XD, own_X, LOGITS_AT_ONCE)) / 2


def _rows(histories: Padded, rows_B: Tensor) -> Padded:
    people = histories.people
    return replace(
        histories,
        items=histories.items[rows_B],
        actions=histories.actions[rows_B],
        times=histories.times[rows_B],
        people=None if people is None else people[rows_B],
    )
