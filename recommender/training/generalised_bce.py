"""A binary loss that sampling doesn't make overconfident (Petrov & Macdonald 2023, gSASRec).

Shape letters: C contexts, S items of the set, N targets.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recommender.training.losses import Targets


def generalised_bce(
    logits_CS: Tensor, targets: Targets, catalogue: int, calibration: float
) -> Tensor:
    """Return the weighted sum over targets of -(β log σ(s⁺) + Σ log(1 - σ(s⁻))).

    β = α (t (1 - 1 / α) + 1 / α), with α the share of the catalogue's other items that are in the
    set, and t the calibration: 0 is plain binary cross-entropy, 1 estimates true probabilities.

    Args:
        logits_CS: of the items of the set.
        targets: columns of `logits_CS`; whatever else is in a context's row is a negative.
        catalogue: items that could have been drawn.
        calibration: t, 0 … 1.
    """
    alpha = max(logits_CS.shape[1] - 1, 1) / max(catalogue - 1, 1)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    wrong_CS = nn.functional.softplus(logits_CS)
    positive_N = logits_CS[targets.context, targets.item]
    own_N = wrong_CS[targets.context, targets.item]
    # A context's other targets are no negatives either.
    own_C = logits_CS.new_zeros(len(logits_CS)).index_add(0, targets.context, own_N)
    negative_C = wrong_CS.masked_fill(torch.isneginf(logits_CS), 0).sum(dim=1) - own_C
    per_N = beta * nn.functional.softplus(-positive_N) + negative_C[targets.context]
    return (targets.weight * per_N).sum()
