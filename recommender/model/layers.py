"""Small parts that are several times faster on a CPU than what torch has for them.

In training they keep what their gradients need and no more; asked for answers, and where a module
is exported, they are torch's own.

Shape letters: X rows of a table, N its columns, D width, F width of the feed-forward part; `...`
any leading shape.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_BYTES = 256
# `random_` of int64 fills 63 bits: seven bytes of each are evenly spread.
_WORD, _EVEN = 8, 7


class Dropout(nn.Module):
    """Drops a share of the entries in training and scales up the others, as `nn.Dropout` does.

    The share is rounded to 256ths: one drawn word decides on seven entries, which takes a quarter
    of the time of torch's Bernoulli draw.

    Args:
        rate: share of the entries.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self._below = round(rate * _BYTES)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`, in training with entries dropped; any shape."""
        if not self.training or not self._below:
            return x
        if x.is_cuda:
            return nn.functional.dropout(x, self._below / _BYTES)
        words = torch.empty(-(-x.numel() // _EVEN), dtype=torch.int64, device=x.device).random_()
        drawn = words.view(torch.uint8).view(-1, _WORD)[:, :_EVEN].reshape(-1)[: x.numel()]
        kept = (drawn >= self._below).view(x.shape).to(x.dtype)
        return x * kept.mul_(_BYTES / (_BYTES - self._below))


class RMSNorm(nn.RMSNorm):
    """A norm by the root of the mean square (Zhang & Sennrich 2019).

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with rows of mean square 1, times the learned weight, (..., D).

        Computed in float32 at least: the epsilon that keeps rows of nought finite is that of the
        type, and bfloat16's would swallow rows that are merely small.
        """
        normed: Tensor
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        if x.is_cuda or not (self.training and torch.is_grad_enabled()):
            normed = super().forward(x)
            return normed
        normed = _RMSNorm.apply(x, self.weight)  # type: ignore[no-untyped-call]
        return normed


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        mean_square = length.square_().div_(x.shape[-1])
        inverse = mean_square.add_(torch.finfo(x.dtype).eps).rsqrt_()
        normed = x * inverse
        ctx.save_for_backward(normed, inverse, weight_D)
        return normed * weight_D

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        normed, inverse, weight_D = ctx.saved_tensors
        along = grad * normed
        grad_weight_D = along.flatten(0, -2).sum(0)
        along = along.mul_(weight_D).mean(dim=-1, keepdim=True)
        return (grad * weight_D).sub_(normed * along).mul_(inverse), grad_weight_D


def gated(gate: Tensor, value: Tensor) -> Tensor:
    """Return silu(gate) × value, for training.

    Args:
        gate: (..., F).
        value: (..., F).
    """
    product: Tensor = _Gated.apply(gate, value)  # type: ignore[no-untyped-call]
    return product


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, value: Tensor) -> Tensor:
        open_ = torch.sigmoid(gate)
        silu = gate * open_
        ctx.save_for_backward(value, open_, silu)
        return silu * value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        value, open_, silu = ctx.saved_tensors
        # d silu = σ + silu (1 - σ)
        slope = torch.addcmul(open_, silu, 1 - open_)
        return slope.mul_(value).mul_(grad), grad * silu


def looked_up(table_XN: Tensor, index: Tensor) -> Tensor:
    """Return `table[:, index]` of a table with few rows, (X, *index.shape).

    The gradient of this gather takes a tenth of the time of that of an embedding whose rows are
    one or two numbers.
    """
    rows = table_XN.shape[0]
    return table_XN.gather(1, index.reshape(1, -1).expand(rows, -1)).view(rows, *index.shape)
