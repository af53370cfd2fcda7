"""What the user does with an item put in front of them, and how large what they give would be.

Shape letters: X any leading shape, B histories, N items asked about in each, T events, S states,
D width, A event types, G values, I items, F popularity features, M questions, C contexts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recommender.config.ranking import RankingConfig
from recommender.model.blocks import KeysValues
from recommender.model.heads import Contexts
from recommender.model.layers import Dropout
from recommender.model.padded import Padded
from recommender.model.target import (
    Buckets,
    Crosses,
    Questions,
    TargetAttention,
)
from recommender.model.values import ValueHead

TASKS = ("next item", "next action", "value")
_BUCKETS = Buckets()


@dataclass(frozen=True)
class Judged:
    """What is foretold of items put in front of users.

    Attributes:
        logits: of the event types (code - 1), (X, A).
        values: forecasts on the scale of their loss (`ValueHead`), (X, G); None without any.
    """

    logits: Tensor
    values: Tensor | None


class Target(nn.Module):
    """The parts of the head that look at the history item by item.

    Args:
        width: D.
        heads: H.
        actions: number of event types, A.
        outputs: of the head, A + G.
        items: in the catalogue, I.
        features: of popularity, F.
        dropout: on what is found.
        time: whether clock time counts.

    Attributes:
        elsewhere: returns rows of `own_IO` where processes share it out; None: it is here.
        sparse: whether, in training, the gradient of `own_IO` has the rows that were asked for
            alone.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        actions: int,
        outputs: int,
        items: int,
        features: int,
        dropout: float,
        *,
        time: bool,
    ) -> None:
        super().__init__()
        self.attention = TargetAttention(width, heads, time=time)
        self.crosses = Crosses(width, actions, features, time=time)
        self.drop = Dropout(dropout)
        # What was never put in front of anybody stays at nought.
        self.own_IO = nn.Parameter(torch.zeros(items, outputs))
        self.elsewhere: Callable[[Tensor], Tensor] | None = None
        self.sparse = False

    def own(self, rows_X: Tensor) -> Tensor:
        """Return what catalogue rows have of their own, (X, O)."""
        if self.elsewhere is not None:
            return self.elsewhere(rows_X)
        sparse = self.sparse and self.training
        return nn.functional.embedding(rows_X, self.own_IO, sparse=sparse)


class ActionHead(nn.Module):
    """What the user does with an item put in front of them, and how large its value would be.

    Args:
        actions: number of event types, A.
        width: D.
        heads: of the attention from item to history.
        config: what it reads and answers.
        items: in the catalogue, I.
        features: of popularity, F.
        dropout: on the hidden layer of the `target` head.
        time: whether clock time counts.
    """

    def __init__(
        self,
        actions: int,
        width: int,
        heads: int,
        config: RankingConfig,
        items: int,
        features: int,
        dropout: float,
        *,
        time: bool,
    ) -> None:
        super().__init__()
        targeted = config.head == "target"
        self.hidden = nn.Linear((5 if targeted else 3) * width, width)
        self.out = nn.Linear(width, actions)
        self.values = ValueHead(config.values, actions, width) if config.values else None
        outputs = actions + len(config.values)
        self.target = (
            Target(width, heads, actions, outputs, items, features, dropout, time=time)
            if targeted
            else None
        )
        self.log_variance_K = (
            nn.Parameter(torch.zeros(len(TASKS))) if config.learned_weights else None
        )

    def plain(self, query_XD: Tensor, item_XD: Tensor) -> Judged:
        """Judge by the user's state and the item's vector alone; any leading shape X."""
        joined = torch.cat([query_XD, item_XD, query_XD * item_XD], dim=-1)
        hidden_XD = nn.functional.silu(self.hidden(joined))
        return Judged(self.out(hidden_XD), self.values(hidden_XD) if self.values else None)

    def targeted(
        self,
        query_BND: Tensor,
        item_BND: Tensor,
        questions: Questions,
        histories: Padded,
        answers: KeysValues,
        buckets: Buckets = _BUCKETS,
    ) -> Judged:
        """Judge by what the items find in the histories, too.

        Args:
            query_BND: the users' states at the moments of asking; N may be 1.
            item_BND: vectors of the items.
            questions: the items and moments.
            histories: B of them.
            answers: `target.attention.keys_values` of their states.
            buckets: how durations, distances and counts are read.

        Returns:
            (B, N, A) and (B, N, G).
        """
        target = self.target
        if target is None:
            raise ValueError("this head has no attention to the history; ask `plain`")
        query_BND = query_BND.expand(-1, item_BND.shape[1], -1)
        bias_BHNS = target.attention.bias(questions, histories.times, buckets)
        interest_BND = target.attention(query_BND, item_BND, answers, bias_BHNS)
        parts = [
            query_BND,
            item_BND,
            query_BND * item_BND,
            interest_BND,
            interest_BND * item_BND,
        ]
        told_BND = target.crosses(questions, histories, buckets)
        hidden_BND = nn.functional.silu(self.hidden(torch.cat(parts, dim=-1)) + told_BND)
        hidden_BND = target.drop(hidden_BND)
        own_BNO = target.own(questions.row)
        actions = self.out.out_features
        logits_BNA = self.out(hidden_BND) + own_BNO[..., :actions]
        values_BNG = None
        if self.values is not None:
            values_BNG = self.values(hidden_BND) + own_BNO[..., actions:]
        return Judged(logits_BNA, values_BNG)


@dataclass(frozen=True)
class Asked:
    """Items put in front of users, one by one.

    Attributes:
        context: of each, a row of the contexts; their histories ascend, (M,) int64.
        item: places among the item vectors at hand, (M,) int64.
        row: catalogue rows, (M,) int64.
        popularity: log popularity of the items as of the contexts, (M, F).
    """

    context: Tensor
    item: Tensor
    row: Tensor
    popularity: Tensor


@dataclass(frozen=True)
class Packed:
    """Questions about contexts, laid out by history.

    Attributes:
        questions: N per history; where one has fewer, the rest is padding.
        context: of each place, a row of the contexts, (B, N) int64.
        row, place: where each of the M questions is, (M,) int64.
    """

    questions: Questions
    context: Tensor
    row: Tensor
    place: Tensor

    @classmethod
    def of(cls, contexts: Contexts, asked: Asked, rows: int) -> Packed:
        """Lay questions out.

        Args:
            contexts: C of them.
            asked: M questions about them.
            rows: B.
        """
        row_M = contexts.row[asked.context]
        counts_B = torch.bincount(row_M, minlength=rows)
        first_B = counts_B.cumsum(0) - counts_B
        place_M = torch.arange(len(row_M), device=row_M.device) - first_B[row_M]
        most = int(counts_B.max()) if rows else 0

        def laid_out(each_M: Tensor) -> Tensor:
            empty = each_M.new_zeros(rows, most, *each_M.shape[1:])
            return empty.index_put((row_M, place_M), each_M)

        questions = Questions(
            laid_out(asked.item),
            laid_out(asked.row),
            laid_out(contexts.position[asked.context]),
            laid_out(contexts.now[asked.context]),
            laid_out(asked.popularity),
        )
        return cls(questions, laid_out(asked.context), row_M, place_M)

    def unpacked(self, judged: Judged) -> Judged:
        """Return the answers to the M questions, without padding."""
        values = judged.values
        return Judged(
            judged.logits[self.row, self.place],
            None if values is None else values[self.row, self.place],
        )
