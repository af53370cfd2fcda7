"""Keeps the bars and notices of the encoders' libraries out of the log."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let sentence-transformers, transformers and what they call say nothing but errors."""
    noisy = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
    levels = [each.level for each in noisy]
    for each in noisy:
        each.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for each, level in zip(noisy, levels, strict=True):
            each.setLevel(level)
