"""What makes torch faster on a CPU without making it less exact.

Both were measured on an x86-64 core with AVX-512 that isn't Intel's (docs/model.md): products in
float32 take less than half the time, and blocks of memory that are kept are not cleared by the
system again in every step.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Of glibc's malloc.h: blocks above this size are mapped afresh each time; free memory at the top of
# the heap above this size is handed back.
_TRIM_THRESHOLD, _MAP_THRESHOLD = -1, -3
_MOST = 2**31 - 1
_MAPPED_ABOVE = 2**30


def keep_memory() -> bool:
    """Make this process keep the memory it has freed, for its next use of it.

    Without this every large tensor is mapped, cleared page by page, and unmapped again. It lasts
    for the life of the process, whose peak does not change.

    Returns:
        whether the system's allocator could be told (glibc's can).
    """
    if not sys.platform.startswith("linux"):
        return False
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)
    if adjust is None:
        return False
    return bool(adjust(_MAP_THRESHOLD, _MAPPED_ABOVE)) and bool(adjust(_TRIM_THRESHOLD, _MOST))


@contextmanager
def fast_products() -> Iterator[None]:
    """Let oneDNN do float32 matrix products while inside.

    It uses what the processor has, whoever made it. Where that includes units for bfloat16 tiles
    (AMX) it may round the factors to bfloat16 and add up in float32; elsewhere it is float32
    throughout.
    """
    onednn: Any = torch.backends.mkldnn
    if not onednn.is_available():
        yield
        return
    products = onednn.matmul
    before = products.fp32_precision
    products.fp32_precision = "bf16"
    try:
        yield
    finally:
        products.fp32_precision = before
