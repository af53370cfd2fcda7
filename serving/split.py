"""Who gets which arm: a sticky, weighted split by a stable hash of the user.

Weighted rendezvous hashing: every arm draws a number from the user's hash, scaled by its weight,
and the largest wins. So a user stays with an arm as long as the weights stay; and when an arm's
weight grows, users only come to it and none of its own leave: whoever was in the 5 % is in the
25 %. The order of the arms and their ports don't matter.

Source of the formula: C. Schindelhauer, G. Schomaker, "Weighted distributed hash tables" (2005).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from serving.routes import Arm


def ranked(arms: Sequence[Arm], salt: str, key: str) -> tuple[Arm, ...]:
    """Return the arms for one user: the user's own first, then where to go if it is down.

    Args:
        arms: of one lane; those with weight 0 come last.
        salt: of the routes.
        key: what is split by: the user's id, or anything else that is stable.
    """
    return tuple(sorted(arms, key=lambda arm: (-_draw(arm, salt, key), arm.version)))


def _draw(arm: Arm, salt: str, key: str) -> float:
    """Return the arm's draw: weight / -ln(u), u uniform in (0, 1) by user and version."""
    digest = hashlib.sha256(f"{salt}\0{key}\0{arm.version}".encode()).digest()
    # 53 bits are what a float holds; the half keeps u away from 0 and 1.
    uniform = ((int.from_bytes(digest[:8], "big") >> 11) + 0.5) / (1 << 53)
    return arm.weight / -math.log(uniform)
