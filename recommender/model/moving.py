"""Tensors in dataclasses, on another device."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Parts = TypeVar("Parts")


def moved(parts: Parts, device: torch.device) -> Parts:
    """Return a dataclass of tensors, however deep, with its tensors on a device."""
    part: Any = parts
    if isinstance(part, Tensor):
        part = part.to(device, non_blocking=True)
    elif is_dataclass(part) and not isinstance(part, type):
        changed = {each.name: moved(getattr(part, each.name), device) for each in fields(part)}
        part = replace(part, **changed)
    return cast(Parts, part)
