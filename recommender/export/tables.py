"""Buckets as tables: what the module finds by logarithms, in a form that is exact everywhere.

A runtime without base-2 logarithms divides natural ones, which puts a gap of exactly 7 seconds
into another bucket than training did. The tables are filled by the module's own functions.

Shape letters: N buckets.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recommender.model.blocks import distance_buckets
from recommender.model.target import Buckets
from recommender.model.times import BUCKETS, WEEKDAYS, duration_buckets

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# 1 January 1970 was a Thursday; Monday is 0.
EPOCH_WEEKDAY = 3

# Longer than any time between two events.
_NEVER = 2**62
# Larger than the error of a logarithm in 32 bits, smaller than a bucket.
_MARGIN = 1e-3


class BucketTables(nn.Module):
    """The buckets of durations, of distances and of counts.

    Args:
        history: most events of a history.
    """

    starts_N: Tensor
    distance_S: Tensor
    count_T: Tensor

    def __init__(self, history: int) -> None:
        super().__init__()
        starts = [_start(bucket) for bucket in range(BUCKETS)]
        self.register_buffer("starts_N", torch.tensor(starts), persistent=False)
        distances_S = distance_buckets(torch.arange(history + 1))
        self.register_buffer("distance_S", distances_S, persistent=False)
        self.register_buffer("count_T", _half_octaves(history), persistent=False)

    @property
    def buckets(self) -> Buckets:
        """The tables as the ranking head reads buckets."""
        return Buckets(
            self.durations,
            lambda apart: taken(self.distance_S, apart),
            lambda counts: taken(self.count_T, counts),
        )

    def durations(self, milliseconds: Tensor) -> Tensor:
        """Return what `recommender.model.times.duration_buckets` does, of any shape."""
        # Not `clamp`: ONNX Runtime 1.31 clips 64-bit integers beyond 2³¹ wrongly.
        whole = torch.where(milliseconds > 0, milliseconds, 0)
        octaves = (whole.to(torch.float32) * 1e-3 + 1).log()
        # The bucket or the next one; its start tells which.
        near = (octaves * (2 / math.log(2)) + (1 + _MARGIN)).long().clamp(max=BUCKETS - 1)
        return near - (whole < taken(self.starts_N, near)).long()


def hours(milliseconds: Tensor) -> Tensor:
    """Return what `recommender.model.times.hours` does, without a division of 64-bit integers.

    Exporters make a floating-point one of it, in 32 bits. The remainder is a small number.
    """
    return ((milliseconds % DAY_MS).to(torch.float64) / HOUR_MS).floor().long()


def weekdays(milliseconds: Tensor) -> Tensor:
    """Return what `recommender.model.times.weekdays` does; see `hours`."""
    since_monday = (milliseconds + EPOCH_WEEKDAY * DAY_MS) % (WEEKDAYS * DAY_MS)
    return (since_monday.to(torch.float64) / DAY_MS).floor().long()


def taken(table_N: Tensor, index: Tensor) -> Tensor:
    """Return `table_N[index]`, of the shape of `index`, in the form that runtimes are fast at."""
    return table_N.index_select(0, index.reshape(-1)).view(index.shape)


def _start(bucket: int) -> int:
    """Return the shortest duration, in milliseconds, of a bucket or a higher one."""
    low, high = 0, _NEVER
    if not _reaches(high, bucket):
        return _NEVER
    while low < high:
        middle = (low + high) // 2
        if _reaches(middle, bucket):
            high = middle
        else:
            low = middle + 1
    return low


def _reaches(milliseconds: int, bucket: int) -> bool:
    return bool(duration_buckets(torch.tensor([milliseconds])).item() >= bucket)


def _half_octaves(history: int) -> Tensor:
    from recommender.model import heads

    counts_T = heads.count_buckets(torch.arange(1, history + 1))
    return torch.cat([torch.zeros(1, dtype=torch.int64), counts_T])
