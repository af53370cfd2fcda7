"""Training only the rows of large tables that a step reads: their gradients and AdamW on them.

A table with a row per item has a gradient for the rows of a batch alone. Kept so, a step costs and
takes what its batch does, whatever the size of the catalogue.

Shape letters: R rows of a step, N rows of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def clip(parameters: Iterable[Tensor], most: float) -> float:
    """Scale all gradients together to a norm of at most `most`; return the norm they had."""
    given = [parameter for parameter in parameters if parameter.grad is not None]
    if not any(parameter.grad.is_sparse for parameter in given if parameter.grad is not None):
        return float(torch.nn.utils.clip_grad_norm_(given, most).item())
    grads = []
    for parameter in given:
        grad = parameter.grad
        if grad is not None and grad.is_sparse:
            # A row that was read twice has one gradient, their sum.
            parameter.grad = grad = grad.coalesce()
            grad = grad.values()
        if grad is not None:
            grads.append(grad)
    norm = torch.nn.utils.get_total_norm(grads)
    factor = torch.clamp(most / (norm + 1e-6), max=1.0)
    for grad in grads:
        grad.mul_(factor)
    return float(norm.item())


class RowAdamW(torch.optim.AdamW):
    """AdamW that leaves rows without a gradient as they are: no decay, no momentum.

    (Lazy Adam, as `torch.optim.SparseAdam`.) That goes for the parameters of groups with
    `rows=True`, whether their gradients are sparse or, summed over processes, whole tables with
    zeros; all others are AdamW's as ever.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            for table in group["params"] if group.get("rows") else ():
                if table.grad is not None:
                    self._step_rows(table, group, *_rows(table.grad))
                    table.grad = None
        taken: float | None = super().step(closure)
        return taken

    def _step_rows(
        self, table: Tensor, group: dict[str, Any], rows_R: Tensor, grad_R: Tensor
    ) -> None:
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=table.device)
            state["exp_avg"] = torch.zeros_like(table)
            state["exp_avg_sq"] = torch.zeros_like(table)
        state["step"] += 1
        steps, (beta1, beta2) = float(state["step"]), group["betas"]
        mean_R = state["exp_avg"][rows_R].lerp_(grad_R, 1 - beta1)
        square_R = state["exp_avg_sq"][rows_R].mul_(beta2).addcmul_(grad_R, grad_R, value=1 - beta2)
        state["exp_avg"][rows_R], state["exp_avg_sq"][rows_R] = mean_R, square_R
        rate = group["lr"] / (1 - beta1**steps)
        spread_R = square_R.sqrt().div_(math.sqrt(1 - beta2**steps)).add_(group["eps"])
        weight_R = table[rows_R].mul_(1 - group["lr"] * group["weight_decay"])
        table[rows_R] = weight_R.addcdiv_(mean_R, spread_R, value=-rate)


def _rows(grad: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of a gradient that are not nought, ascending, and what they are."""
    grad = grad.coalesce() if grad.is_sparse else grad
    grad_R = grad.values() if grad.is_sparse else grad
    there_R = grad_R.any(dim=1) if grad_R.ndim > 1 else grad_R != 0
    rows_R = grad.indices()[0][there_R] if grad.is_sparse else there_R.nonzero()[:, 0]
    return rows_R, grad_R[there_R]
