"""What keeps a refreshed model near the one it started from."""

from __future__ import annotations

import torch
from torch import nn


class Anchor:
    """Pulls every number that learns towards where it started, after every step.

    As weight decay pulls to nought (Li et al. 2018, "Explicit inductive bias for transfer
    learning", L2-SP), but decoupled from the gradient (Loshchilov & Hutter 2019): a gradient's
    scale doesn't change it.

    Args:
        module: before its first step; the parameters that learn are remembered.
        strength: of the pull; a step moves a number by rate × strength of its way back.
    """

    def __init__(self, module: nn.Module, strength: float) -> None:
        self.strength = strength
        self._start = {
            name: parameter.detach().clone()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    @torch.no_grad()
    def pull(self, module: nn.Module, rate: float) -> None:
        """Pull.

        Args:
            module: after a step.
            rate: the step's learning rate.
        """
        share = min(1.0, rate * self.strength)
        for name, parameter in module.named_parameters():
            if name in self._start:
                start = self._start[name] = self._start[name].to(parameter.device)
                parameter.lerp_(start, share)
