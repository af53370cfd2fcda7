"""Which rows of the id table an item has, where ids are hashed.

Shape letters: I items, X rows of the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def id_buckets(ids: Sequence[str], buckets: int) -> NDArray[np.int64]:
    """Return two rows of the table for each id, by its text alone, (I, 2).

    Args:
        ids: of items.
        buckets: X.
    """
    digests = [hashlib.blake2b(each.encode(), digest_size=16).digest() for each in ids]
    words_I2 = np.frombuffer(b"".join(digests), "<u8").reshape(len(ids), 2)
    return (words_I2 % np.uint64(buckets)).astype(np.int64)
