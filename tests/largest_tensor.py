"""How large the largest tensor is that any operation makes: what memory is bounded by."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LargestTensor(TorchDispatchMode):
    """While it is entered, notes the size of the largest result of any operation.

    Attributes:
        elements: of the largest one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and look at what it made; views of smaller things take no memory."""
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, torch.Tensor):
                held = each.untyped_storage().nbytes() // each.element_size()
                self.elements = max(self.elements, held)
        return made
