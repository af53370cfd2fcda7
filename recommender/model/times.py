"""Time as the model reads it: logarithmic buckets of durations, hour and weekday in UTC."""

from __future__ import annotations

import torch
from torch import Tensor

BUCKETS = 64
"""Of durations: two per doubling, from under a second (1) to more than 30 years; 0 is "none"."""

HOURS = 24
WEEKDAYS = 7
_SECOND_MS = 1_000
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
# 1 January 1970 was a Thursday; Monday is 0.
_EPOCH_WEEKDAY = 3


def duration_buckets(milliseconds: Tensor) -> Tensor:
    """Return the bucket of each duration, 1 … BUCKETS - 1, int64 of the same shape.

    Buckets are half octaves of 1 + seconds. A negative duration counts as zero.
    """
    seconds = milliseconds.clamp(min=0).to(torch.float32) / _SECOND_MS
    return (1 + 2 * torch.log2(1 + seconds)).long().clamp(max=BUCKETS - 1)


def hours(milliseconds: Tensor) -> Tensor:
    """Return the hour of the day of each moment, 0 … 23, UTC."""
    return torch.div(milliseconds, _HOUR_MS, rounding_mode="floor") % HOURS


def weekdays(milliseconds: Tensor) -> Tensor:
    """Return the day of the week of each moment, 0 (Monday) … 6, UTC."""
    return (torch.div(milliseconds, _DAY_MS, rounding_mode="floor") + _EPOCH_WEEKDAY) % WEEKDAYS
