"""A binary loss that sampling doesn't make overconfident (Petrov & Macdonald 2023, gSASRec).

Shape letters: C contexts, S items of the set, D width, X base rows, P pairs, N targets.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recommender.training.losses import Adjustments, Targets


def generalised_bce(
    query_CD: Tensor,
    items_SD: Tensor,
    base_XS: Tensor,
    base_of_C: Tensor,
    adjustments: Adjustments,
    targets: Targets,
    inside_S: Tensor,
    catalogue: int,
    calibration: float,
    budget: int = 2**22,
) -> Tensor:
    """Return the weighted sum over targets of -(β log σ(s⁺) + Σ α / P(in) log(1 - σ(s⁻))).

    s[c] = query[c] · items + base[base_of[c]] + adjustments of c. β = α (t (1 - 1 / α) + 1 / α),
    with α the share of the catalogue's other items that are in the set, and t the calibration: 0
    is plain binary cross-entropy, 1 estimates true probabilities. The paper draws evenly, so that
    P(in) = α; where some items are drawn more often than others, each counts by how seldom it is
    drawn, or popular ones would be told as less likely than they are.

    A chunk of contexts is computed at a time, and again for its gradients, so that contexts × set
    is never held at once.

    Args:
        query_CD: of the contexts.
        items_SD: of the set.
        base_XS: rows of logits that many contexts share.
        base_of_C: the row of each context.
        adjustments: added to single logits.
        targets: columns of the set; whatever else is in a context's row is a negative.
        inside_S: log P(in), how likely each item was to be in the set.
        catalogue: items that could have been drawn.
        calibration: t, 0 … 1.
        budget: logits held at once.
    """
    contexts, size = len(query_CD), len(items_SD)
    alpha = max(size - 1, 1) / max(catalogue - 1, 1)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    share_S = alpha * torch.exp(-inside_S)
    step = max(1, budget // size)
    starts = torch.arange(0, contexts + step, step, device=query_CD.device)
    pair_at = torch.searchsorted(adjustments.context, starts).tolist()
    target_at = torch.searchsorted(targets.context, starts).tolist()
    total = query_CD.new_zeros((), dtype=torch.float32)
    for chunk, start in enumerate(range(0, contexts, step)):
        pairs = slice(pair_at[chunk], pair_at[chunk + 1])
        wanted = slice(target_at[chunk], target_at[chunk + 1])
        total = total + checkpoint(
            _chunk,
            query_CD[start : start + step],
            items_SD,
            base_XS,
            base_of_C[start : start + step],
            (adjustments.context[pairs] - start, adjustments.item[pairs]),
            adjustments.value[pairs],
            (targets.context[wanted] - start, targets.item[wanted]),
            targets.weight[wanted],
            share_S,
            beta,
            use_reentrant=False,
        )
    return total


def _chunk(
    query_CD: Tensor,
    items_SD: Tensor,
    base_XS: Tensor,
    base_of_C: Tensor,
    pairs: tuple[Tensor, Tensor],
    value_P: Tensor,
    wanted: tuple[Tensor, Tensor],
    weight_N: Tensor,
    share_S: Tensor,
    beta: float,
) -> Tensor:
    """Return the sum over the targets of some contexts."""
    logits_CS = torch.addmm(base_XS[base_of_C], query_CD, items_SD.T).float()
    logits_CS = logits_CS.index_put(pairs, value_P.float(), accumulate=True)
    context_N, _ = wanted
    wrong_CS = nn.functional.softplus(logits_CS) * share_S
    # A context's own targets are no negatives; what is taken out (-inf) counts nothing.
    own_C = logits_CS.new_zeros(len(logits_CS)).index_add(0, context_N, wrong_CS[wanted])
    negative_C = wrong_CS.sum(dim=1) - own_C
    per_N = beta * nn.functional.softplus(-logits_CS[wanted]) + negative_C[context_N]
    return (weight_N * per_N).sum()
