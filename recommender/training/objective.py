"""The joint loss of one batch: the next item over all known items, the next action, its value.

Shape letters: C contexts, K contexts with item targets, N known items, I items, D width, M action
targets, P (context, item) pairs, X slices of time, F popularity features, S items that stand for
the catalogue, R items that a step reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from recommender.config.training import TrainingConfig
from recommender.features.sequences import Ints
from recommender.model.heads import Contexts, Pairs
from recommender.model.ranking import Asked
from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch, among, with_empty
from recommender.training.examples import Examples
from recommender.training.generalised_bce import generalised_bce
from recommender.training.losses import LOGITS_AT_ONCE, Adjustments, catalogue_cross_entropy
from recommender.training.negatives import Negatives
from recommender.training.popularity import SMOOTHING
from recommender.training.self_supervision import SelfSupervision
from recommender.training.tasks import Lost, weighed


@dataclass(frozen=True)
class _Drawn:
    """What a sampled loss reads of the catalogue.

    Attributes:
        columns_S: the items that stand for the catalogue, among the known ones, ascending.
        rows_S: their catalogue rows.
        rarity_S: minus the log of how likely each was to be drawn.
        read_R: catalogue rows of these and of the histories, ascending.
    """

    columns_S: Tensor
    rows_S: Tensor
    rarity_S: Tensor
    read_R: Tensor


@dataclass(frozen=True)
class _Words:
    """What `model.text_match` puts beside queries and items.

    Attributes:
        asked_KV: of the contexts with item targets.
        items_RV: of the items that a step reads.
    """

    asked_KV: Tensor
    items_RV: Tensor


class Objective:
    """Computes the losses of batches of the same examples.

    The softmax is over the items known before the cut: an item that was not there could not have
    been chosen. Where seen items are never recommended again, they are taken out of the softmax.

    Args:
        examples: what the batches are cut from.
        config: the losses, and what they weigh.
        targets_I: how often each item is a target, where `examples` are a part only, (I,).
        beside: what is made small beside the tasks' losses.
    """

    def __init__(
        self,
        examples: Examples,
        config: TrainingConfig,
        targets_I: Ints | None = None,
        beside: SelfSupervision | None = None,
    ) -> None:
        self.config = config
        self.beside = beside
        self.exclude_seen = examples.exclude_seen and not config.seen_in_softmax
        self.known_N = torch.from_numpy(np.flatnonzero(examples.known))
        self.known_I = torch.from_numpy(examples.known)
        self.all_known = bool(examples.known.all())
        self.column_I = torch.zeros(len(examples.known), dtype=torch.int64)
        self.column_I[self.known_N] = torch.arange(len(self.known_N))
        popularity = examples.popularity
        if not self.all_known:
            popularity = popularity[:, examples.known]
        self.popularity_XNF = torch.from_numpy(np.ascontiguousarray(popularity))
        self.negatives = None
        if config.loss != "full":
            counts_I = (
                np.bincount(examples.item, minlength=len(examples.known))
                if targets_I is None
                else targets_I
            )
            self.negatives = Negatives(
                torch.from_numpy(counts_I[examples.known]), config.negatives, config.popular_share
            )

    @property
    def softmax(self) -> int:
        """How many items stand in the softmax of a context, about."""
        return len(self.known_N) if self.negatives is None else self.config.negatives

    def to(self, device: torch.device) -> Self:
        """Move its tables to where batches are; return itself."""
        for tables in (self, self.negatives):
            for name, value in list(vars(tables).items() if tables is not None else ()):
                if isinstance(value, Tensor):
                    setattr(tables, name, value.to(device))
        return self

    def __call__(self, module: UnifiedTransformer, batch: Batch) -> Lost:
        """Return the losses of the tasks, and what is made small."""
        lost = self._of_tasks(module, batch)
        if self.beside is None:
            return lost
        return lost._replace(total=lost.total + self.beside(module, batch))

    def _of_tasks(self, module: UnifiedTransformer, batch: Batch) -> Lost:
        if self.config.empty_share:
            dice_K = torch.rand(len(batch.asked), device=batch.asked.device)
            batch = with_empty(batch, dice_K < self.config.empty_share)
        drawn = self._drawn(batch)
        rows_R = None if drawn is None else drawn.read_R
        if module.bring is not None and rows_R is not None:
            module.bring(rows_R)
        keep_R = module.tower.kept(rows_R)
        items_RD = module.item_vectors(rows_R, keep_R)
        words = self._words(module, batch, rows_R, keep_R)
        if rows_R is not None:
            batch = among(batch, rows_R)
        read = module.read(items_RD, batch.histories, batch.contexts)
        item_loss = self._item_loss(module, batch, items_RD, read[0], drawn, words)
        action_loss = value_loss = item_loss.new_zeros(())
        values = module.action.values
        weights = (1.0, self.config.action_weight, self.config.value_weight if values else 0.0)
        if len(batch.action) and any(weights[1:]):
            row_M = batch.action_item if rows_R is None else rows_R[batch.action_item]
            asked = Asked(
                batch.action_context, batch.action_item, row_M, self._popularity(batch, row_M)
            )
            judged = module.judged_in_training(
                items_RD, batch.histories, batch.contexts, read, asked
            )
            action_loss = nn.functional.cross_entropy(judged.logits, batch.action)
            if values is not None and judged.values is not None:
                value_loss = values.losses(judged.values, batch.value).sum()
        losses = (item_loss, action_loss, value_loss)
        return Lost(*losses, weighed(losses, weights, module.action.log_variance_K))

    def _popularity(self, batch: Batch, row_M: Tensor) -> Tensor:
        """Return the log popularity of the action targets as of their contexts, (M, F)."""
        column_M = self.column_I[row_M]
        return torch.where(
            self.known_I[row_M, None],
            self.popularity_XNF[batch.action_slice, column_M],
            math.log(SMOOTHING),
        )

    def _drawn(self, batch: Batch) -> _Drawn | None:
        """Draw what stands for the catalogue; None where nothing does."""
        if self.negatives is None:
            return None
        columns_S, inside_S = self.negatives.draw(self.column_I[batch.targets.item])
        rows_S = self.known_N[columns_S]
        read = (rows_S, batch.histories.items.flatten(), batch.action_item)
        return _Drawn(columns_S, rows_S, -inside_S, torch.unique(torch.cat(read)))

    def _item_loss(
        self,
        module: UnifiedTransformer,
        batch: Batch,
        items_RD: Tensor,
        query_CD: Tensor,
        drawn: _Drawn | None,
        words: _Words | None,
    ) -> Tensor:
        if not len(batch.asked):
            return query_CD.sum() * 0
        contexts = batch.contexts.of(batch.asked)
        query_KD = query_CD[batch.asked]
        rows_R = None if drawn is None else drawn.read_R
        adjustments = self._adjustments(module, batch, contexts, query_KD, items_RD, rows_R)
        targets = replace(batch.targets, item=self.column_I[batch.targets.item])
        query_KD = module.scaled(query_KD)
        if drawn is None:
            rows_S, popularity_XSF, rarity_S = self.known_N, self.popularity_XNF, None
            place_S = rows_S
        else:
            rows_S, rarity_S = drawn.rows_S, drawn.rarity_S
            popularity_XSF = self.popularity_XNF[:, drawn.columns_S]
            adjustments = _within(adjustments, drawn.columns_S)
            targets = replace(targets, item=torch.searchsorted(drawn.columns_S, targets.item))
            place_S = torch.searchsorted(drawn.read_R, rows_S)
        whole = drawn is None and self.all_known
        items_SD = items_RD if whole else items_RD[place_S]
        if words is not None:
            query_KD = torch.cat([query_KD, words.asked_KV], dim=1)
            own_SV = words.items_RV if whole else words.items_RV[place_S]
            items_SD = torch.cat([items_SD, own_SV], dim=1)
        base_XS = module.popularity(popularity_XSF, rows_S)
        if self.config.loss == "gbce" and rarity_S is not None:
            total = generalised_bce(
                query_KD,
                items_SD,
                base_XS,
                batch.slice,
                adjustments,
                targets,
                -rarity_S,
                len(self.known_N),
                self.config.calibration,
                LOGITS_AT_ONCE,
            )
        else:
            if rarity_S is not None:
                # What is seldom in the set stands for others like it; a target was sure to be.
                base_XS = base_XS + rarity_S
                sure = Adjustments(targets.context, targets.item, -rarity_S[targets.item])
                adjustments = _joined(adjustments, sure, len(rows_S))
            total = catalogue_cross_entropy(
                query_KD,
                items_SD,
                base_XS,
                batch.slice,
                adjustments,
                targets,
                LOGITS_AT_ONCE,
                self.config.label_smoothing,
            )
        return total / batch.targets.weight.sum()

    def _words(
        self, module: UnifiedTransformer, batch: Batch, rows_R: Tensor | None, keep_R: Tensor
    ) -> _Words | None:
        """Return what stands beside queries and items; `batch` names items by catalogue rows."""
        if module.match is None:
            return None
        text_IV = module.tower.text_IV
        text_RV = text_IV if rows_R is None else text_IV[rows_R]
        return _Words(
            module.match.asked(text_IV, batch.histories.items, batch.contexts.of(batch.asked)),
            module.match.columns(text_RV, keep_R),
        )

    def _adjustments(
        self,
        module: UnifiedTransformer,
        batch: Batch,
        contexts: Contexts,
        query_KD: Tensor,
        items_RD: Tensor,
        rows_R: Tensor | None,
    ) -> Adjustments:
        """Return what the history of each context does to the logits of its items."""
        if not self.exclude_seen and module.repeats is None:
            nothing = batch.asked[:0]
            return Adjustments(nothing, nothing, query_KD.new_zeros(0))
        pairs = Pairs.of(batch.histories.items, contexts)
        if self.exclude_seen or module.repeats is None:
            value_P = query_KD.new_full((len(pairs.item),), float("-inf"))
        else:
            value_P = module.repeats(pairs, contexts, batch.histories.times, query_KD, items_RD)
        item_P = pairs.item if rows_R is None else rows_R[pairs.item]
        return Adjustments(pairs.context, self.column_I[item_P], value_P)


def _within(adjustments: Adjustments, columns_S: Tensor) -> Adjustments:
    """Return those of items in a set, with places in the set for columns."""
    place = torch.searchsorted(columns_S, adjustments.item).clamp(max=len(columns_S) - 1)
    inside = columns_S[place] == adjustments.item
    return Adjustments(adjustments.context[inside], place[inside], adjustments.value[inside])


def _joined(one: Adjustments, other: Adjustments, items: int) -> Adjustments:
    """Return both; where they name the same logit, their sum."""
    cells = torch.cat([one.context * items + one.item, other.context * items + other.item])
    distinct, place = torch.unique(cells, return_inverse=True)
    values = torch.cat([one.value, other.value])
    summed = values.new_zeros(len(distinct)).index_add(0, place, values)
    return Adjustments(distinct // items, distinct % items, summed)
