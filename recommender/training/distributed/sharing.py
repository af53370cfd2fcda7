"""A group whose processes share the item tables out by rows, and how it ranks the catalogue."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from recommender.features.sequences import Catalogue, Histories
from recommender.model.heads import Pairs
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.scoring import Floats, Scorer
from recommender.training.distributed.ranks import Ranks
from recommender.training.distributed.shards import ItemShards
from recommender.training.team import Losses


@dataclass(frozen=True)
class SharingRanks(Ranks):
    """A group of processes, each of which keeps some rows of the item tables in training.

    Attributes:
        lanes: batches of a step, of all processes.
    """

    lanes: int
    _shards: list[ItemShards] = field(default_factory=list)

    def share_out(self, module: UnifiedTransformer) -> None:
        """Leave in a module the rows that this process keeps."""
        self._shards[:] = [ItemShards(module, self, -(-self.lanes // self.size))]

    def put_together(self, module: UnifiedTransformer) -> None:  # noqa: ARG002 it is ours
        """Give a module, after training, the rows of the others."""
        self._shards.pop().put_together()

    def clip(self, module: UnifiedTransformer, most: float) -> float:  # noqa: ARG002 it is ours
        """Send the gradients of rows home, and scale all to a norm of at most `most`."""
        return self._shards[0].clip(most)

    def gathering(self, losses: Losses, *, last: bool) -> AbstractContextManager[None]:
        """Return what a batch is computed in; gradients are exchanged with the last one only."""
        if last:
            self._shards[0].keep_up()
        return super().gathering(losses, last=last)

    def scorer(self, module: UnifiedTransformer, catalogue: Catalogue) -> Scorer:
        """Return what ranks the catalogue by a module in training; see `SharedScorer`."""
        return SharedScorer(module, catalogue, self._shards[0])


class SharedScorer(TransformerScorer):
    """Scores the catalogue a process's rows at a time.

    All processes score together, as often as the one that has most to ask; who is done says
    `finish`.

    Args:
        module: in training; it is put into evaluation mode.
        catalogue: the items.
        shards: of the module.
    """

    def __init__(
        self, module: UnifiedTransformer, catalogue: Catalogue, shards: ItemShards
    ) -> None:
        self.module = module.eval()
        self._catalogue = catalogue
        self._items_ID = module.log_scale.new_zeros(0, module.config.width)
        self._shards = shards

    def scores(self, histories: Histories) -> Floats:
        """Return the logit of every item, (B, I)."""
        self._shards.working(True)
        return self._scores(histories)

    def finish(self, nothing: Histories) -> None:
        """Take part for as long as others score.

        Args:
            nothing: histories of nobody.
        """
        while self._shards.working(False):
            self._scores(nothing)

    @torch.no_grad()
    def _scores(self, histories: Histories) -> Floats:
        module, shards = self.module, self._shards
        scores_BI = np.empty((len(histories), len(self._catalogue)), np.float32)
        batches = self._batches(histories)
        first = torch.zeros(0, dtype=torch.int64, device=module.log_scale.device)
        read = [padded.items.flatten() for _, padded, _ in batches]
        rows_R = torch.unique(torch.cat([first, *read]))
        shards.show(rows_R, shards.fetch(rows_R))
        items_RD = module.item_vectors(rows_R)
        asked, added = [], []
        for rows, whole, contexts in batches:
            padded = replace(whole, items=torch.searchsorted(rows_R, whole.items))
            query_CD = module.queries(items_RD, padded, contexts)
            words_CV = None
            if module.match is not None:
                words_CV = module.match.asked(module.tower.text_IV, whole.items, contexts)
            asked.append((rows, module.scaled(query_CD), words_CV))
            if module.repeats is not None:
                pairs = Pairs.of(padded.items, contexts)
                value_P = module.repeats(pairs, contexts, padded.times, query_CD, items_RD)
                item_P = rows_R[pairs.item].cpu().numpy()
                added.append((rows[pairs.context.cpu().numpy()], item_P, value_P.cpu().numpy()))
        for rank, (start, stop) in enumerate(shards.ranges):
            rows_R, values_RW = shards.of(rank)
            shards.show(rows_R, values_RW)
            items_RD = module.item_vectors(rows_R)
            popularity_1RF = module.popularity.popularity_IF[None, start:stop]
            base_R = module.popularity(popularity_1RF, rows_R)[0]
            for rows, query_CD, words_CV in asked:
                logits_CR = torch.addmm(base_R, query_CD, items_RD.T)
                if module.match is not None and words_CV is not None:
                    tower = module.tower
                    text_RV, known_R = tower.text_IV[start:stop], tower.known_I[start:stop]
                    logits_CR += module.match(words_CV, text_RV, known_R)
                scores_BI[rows, start:stop] = logits_CR.cpu().numpy()
        for row_P, item_P, value_P in added:
            scores_BI[row_P, item_P] += value_P
        return scores_BI
