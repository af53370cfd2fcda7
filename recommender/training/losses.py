"""The two losses: which item is next, over the whole catalogue, and what is done with an item.

Shape letters: C contexts, I items, D width, X base rows, P pairs, N targets, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_LEAST = torch.finfo(torch.float32).min

LOGITS_AT_ONCE = 2**20
"""How many logits of a softmax, or likenesses of items, are held at a time."""


@dataclass(frozen=True)
class Adjustments:
    """What is added to single logits: one value per (context, item), no pair twice.

    Attributes:
        context: ascending, (P,) int64.
        item: columns of the logits, (P,) int64.
        value: -inf takes the item out of the softmax, (P,).
    """

    context: Tensor
    item: Tensor
    value: Tensor


@dataclass(frozen=True)
class Targets:
    """What came next: one row per (context, item), no pair twice.

    Attributes:
        context: ascending, (N,) int64.
        item: columns of the logits, (N,) int64.
        weight: of each, (N,).
    """

    context: Tensor
    item: Tensor
    weight: Tensor


def catalogue_cross_entropy(
    query_CD: Tensor,
    items_ID: Tensor,
    base_XI: Tensor,
    base_of_C: Tensor,
    adjustments: Adjustments,
    targets: Targets,
    budget: int = 2**22,
    smoothing: float = 0.0,
) -> Tensor:
    """Return the weighted sum over targets of -log softmax(logits)[item].

    logits[c] = query[c] · items + base[base_of[c]] + adjustments of c. They are made once per
    context, a chunk of contexts at a time, and the gradients in the same pass, so that
    contexts × items is never held at once.

    Args:
        query_CD: of the contexts.
        items_ID: whose dot products with the queries are the logits.
        base_XI: rows of logits that many contexts share.
        base_of_C: the row of each context.
        adjustments: added to single logits.
        targets: contexts may have several, or none.
        budget: logits held at once.
        smoothing: share of every target that is spread evenly over the items that are not taken
            out (label smoothing, Szegedy et al. 2016, §7).
    """
    given = (query_CD, items_ID, base_XI, adjustments.value)
    # In float32 whatever the products around it are in.
    with torch.autocast(query_CD.device.type, enabled=False):
        loss: Tensor = _CatalogueCrossEntropy.apply(  # type: ignore[no-untyped-call]
            *(part.float() for part in given), base_of_C, adjustments, targets, budget, smoothing
        )
    return loss


def cross_entropy(query_CD: Tensor, items_ID: Tensor, target_C: Tensor, budget: int) -> Tensor:
    """Return the mean over contexts of -log softmax(query · items)[target], nats.

    As `catalogue_cross_entropy`, without anything added to the logits.

    Args:
        query_CD: of the contexts, at least one.
        items_ID: to choose from.
        target_C: row of the right one, (C,) int64.
        budget: logits held at once.
    """
    contexts = len(query_CD)
    nowhere_C = torch.zeros_like(target_C)
    nothing = Adjustments(target_C[:0], target_C[:0], query_CD.new_zeros(0))
    each_C = torch.arange(contexts, device=target_C.device)
    targets = Targets(each_C, target_C, query_CD.new_ones(contexts))
    base_1I = query_CD.new_zeros(1, len(items_ID))
    total = catalogue_cross_entropy(
        query_CD, items_ID, base_1I, nowhere_C, nothing, targets, budget
    )
    return total / contexts


class _CatalogueCrossEntropy(torch.autograd.Function):
    """Forward makes the gradients too: the logits of a chunk are then still at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        query_CD: Tensor,
        items_ID: Tensor,
        base_XI: Tensor,
        value_P: Tensor,
        base_of_C: Tensor,
        adjustments: Adjustments,
        targets: Targets,
        budget: int,
        smoothing: float,
    ) -> Tensor:
        contexts, items = len(query_CD), len(items_ID)
        weight_C = query_CD.new_zeros(contexts).index_add_(0, targets.context, targets.weight)
        grad_query, grad_items = torch.empty_like(query_CD), torch.zeros_like(items_ID)
        grad_base, grad_value = torch.zeros_like(base_XI), torch.zeros_like(value_P)
        loss = query_CD.new_zeros((), dtype=torch.float64)
        step = min(max(1, budget // items), max(1, contexts))
        # One block for all chunks: a fresh one would be cleared by the system page by page.
        held = query_CD.new_empty(step, items)
        starts = torch.arange(0, contexts + step, step, device=query_CD.device)
        pair_at = torch.searchsorted(adjustments.context, starts).tolist()
        target_at = torch.searchsorted(targets.context, starts).tolist()
        for chunk, start in enumerate(range(0, contexts, step)):
            rows = slice(start, min(start + step, contexts))
            pairs = slice(pair_at[chunk], pair_at[chunk + 1])
            wanted = slice(target_at[chunk], target_at[chunk + 1])
            pair = (adjustments.context[pairs] - start) * items + adjustments.item[pairs]
            target = (targets.context[wanted] - start) * items + targets.item[wanted]

            logits = held[: rows.stop - start]
            if len(base_XI) == 1:
                torch.addmm(base_XI[0], query_CD[rows], items_ID.T, out=logits)
            else:
                torch.index_select(base_XI, 0, base_of_C[rows], out=logits)
                logits.addmm_(query_CD[rows], items_ID.T)
            flat = logits.view(-1)
            flat[pair] = flat[pair] + value_P[pairs]
            if smoothing:
                spread_CI = logits.isfinite()
                share_C = smoothing * weight_C[rows] / spread_CI.sum(dim=1).clamp(min=1)
                spread_CI = spread_CI * share_C[:, None]
                total_C = (logits.clamp(min=_LEAST) * spread_CI).sum(dim=1)
                evenly_C = smoothing * weight_C[rows] * logits.logsumexp(dim=1) - total_C
                loss += evenly_C.sum(dtype=torch.float64)
            torch.softmax(logits, dim=1, out=logits)
            # What is less likely than any number is told as the least one; its gradient is right.
            log_likelihood = flat[target].clamp(min=torch.finfo(logits.dtype).tiny).log()
            weight_N = targets.weight[wanted] * (1 - smoothing)
            loss -= (weight_N * log_likelihood).sum(dtype=torch.float64)

            # d loss / d logits = weight × softmax - the targets' weights, in place.
            grad = logits.mul_(weight_C[rows, None])
            flat[target] = flat[target] - weight_N
            if smoothing:
                grad -= spread_CI
            torch.mm(grad, items_ID, out=grad_query[rows])
            grad_items.addmm_(grad.T, query_CD[rows])
            if len(base_XI) == 1:
                grad_base[0] += grad.sum(dim=0)
            else:
                grad_base.index_add_(0, base_of_C[rows], grad)
            grad_value[pairs] = flat[pair]
        ctx.save_for_backward(grad_query, grad_items, grad_base, grad_value)
        return loss.to(query_CD.dtype)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> Any:
        grads = tuple(grad * grad_loss for grad in ctx.saved_tensors)
        return (*grads, None, None, None, None, None)
