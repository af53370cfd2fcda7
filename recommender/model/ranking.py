"""What the user does with an item put in front of them, and how large what they give would be.

Shape letters: X any leading shape, B histories, N items asked about in each, T events, S states,
D width, A event types, G values, I items, F popularity features, M questions, C contexts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
_PARTS, _MIXED = 6, 3
_SHORT = 0.02


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

    It knows an item by its words, as the body does, and by a vector of its own in place of the
    body's id part. That one is learned to find what comes next: of the events of training it says
    which of them came to something, which the head would then read instead of learning it, and of
    later events it says nothing.

    What is read is brought to one length part by part: how popular an item is differs by little,
    and still tells most where nothing else is known.

    Args:
        width: D.
        heads: H.
        actions: number of event types, A.
        items: in the catalogue, I.
        features: of popularity, F.
        dropout: on what is found.
        time: whether clock time counts.

    Attributes:
        elsewhere: returns rows of `own_ID` where processes share it out; None: it is here.
        sparse: whether, in training, the gradient of `own_ID` has the rows that were asked for
            alone.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        actions: int,
        items: int,
        features: int,
        dropout: float,
        *,
        time: bool,
    ) -> None:
        super().__init__()
        self.attention = TargetAttention(width, heads, time=time)
        self.crosses = Crosses(width, actions, features, time=time)
        self.mixed = nn.Linear(_PARTS * width, _MIXED * width)
        self.drop = Dropout(dropout)
        # What nobody has taken yet has none: `keep_X` says so, and its row stays at nought.
        self.own_ID = nn.Parameter(torch.zeros(items, width))
        self.elsewhere: Callable[[Tensor], Tensor] | None = None
        self.sparse = False

    def items(self, words_XD: Tensor, keep_X: Tensor, rows_X: Tensor) -> Tensor:
        """Return the vectors that the head knows items by, (X, D).

        Args:
            words_XD: what is said of them, as the body reads it (`ItemTower.words`).
            keep_X: 1 for items whose own vector counts and 0 for others (`ItemTower.kept`).
            rows_X: their catalogue rows.
        """
        if self.elsewhere is not None:
            own_XD = self.elsewhere(rows_X)
        else:
            sparse = self.sparse and self.training
            own_XD = nn.functional.embedding(rows_X, self.own_ID, sparse=sparse)
        return words_XD + keep_X[..., None] * own_XD

    def mix(self, parts: Sequence[Tensor]) -> Tensor:
        """Return what all that is known of a user and an item makes together, (X, 3 D).

        Args:
            parts: (X, D) each.
        """
        mixed_XN = self.mixed(torch.cat([_of_one_length(part_XD) for part_XD in parts], dim=-1))
        told_XN: Tensor = self.drop(nn.functional.silu(mixed_XN))
        return told_XN


def _of_one_length(x_XD: Tensor) -> Tensor:
    """Return vectors of mean square 1, but of those that are hardly longer than nought, (X, D).

    A vector that starts from nought would otherwise be as long as any after its first step.
    Computed in float32 at least, as `RMSNorm` is.
    """
    x_XD = x_XD.to(torch.promote_types(x_XD.dtype, torch.float32))
    return x_XD * torch.rsqrt(x_XD.square().mean(dim=-1, keepdim=True) + _SHORT**2)


class ActionHead(nn.Module):
    """What the user does with an item put in front of them, and how large its value would be.

    Args:
        actions: number of event types, A.
        width: D.
        heads: of the attention from item to history.
        config: what it reads and answers.
        items: in the catalogue, I.
        features: of popularity, F.
        dropout: on the hidden layers of the `target` head.
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
        self.hidden = nn.Linear(_MIXED * width, width)
        self.out = nn.Linear(width, actions)
        self.values = ValueHead(config.values, actions, width) if config.values else None
        self.target = (
            Target(width, heads, actions, items, features, dropout, time=time)
            if config.head == "target"
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
            item_BND: vectors of the items, from `target.items`.
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
            target.crosses(questions, histories, buckets),
        ]
        hidden_BND = target.drop(nn.functional.silu(self.hidden(target.mix(parts))))
        return Judged(self.out(hidden_BND), self.values(hidden_BND) if self.values else None)


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
