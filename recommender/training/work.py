"""How many floating-point operations a batch asks for: what the model is, not how it is computed.

Model FLOPs as in Chowdhery et al. 2022 ("PaLM", appendix B): products only, padding and anything
computed twice left out; a multiplication and an addition are two; the backward pass is twice the
forward one.

    3 × ( 2 × weights of the blocks × states
        + 4 × D × blocks × Σ over histories of s (s + 1) / 2, s its states
        + 2 × weights of the request's feed-forward part × contexts
        + 2 × D × contexts asked × items in the softmax
        + 2 × D × columns of text × items whose vectors are made )

Shape letters: D width of the model.
"""

from __future__ import annotations

from torch import nn

from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch


def model_flops(module: UnifiedTransformer, batch: Batch, softmax: int) -> float:
    """Return the FLOPs of a step on a batch, forward and backward.

    Args:
        module: in training.
        batch: on the CPU.
        softmax: items in the softmax of a context, whose vectors are made.
    """
    width = module.config.width
    states_B = (batch.histories.actions > 0).sum(dim=1).double() + 1
    pairs = float((states_B * (states_B + 1) / 2).sum())
    forward = 2.0 * _weights(module.blocks) * float(states_B.sum())
    forward += 4.0 * width * len(module.blocks) * pairs
    forward += 2.0 * _weights(module.request.feed) * len(batch.contexts)
    beside = 0 if module.match is None else module.match.width
    forward += 2.0 * (width + beside) * softmax * len(batch.asked)
    forward += 2.0 * width * module.tower.text_IV.shape[1] * softmax
    return 3 * forward


def _weights(part: nn.Module) -> int:
    linear = [each for each in part.modules() if isinstance(each, nn.Linear)]
    return sum(each.in_features * each.out_features for each in linear)
