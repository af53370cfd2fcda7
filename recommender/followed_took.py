"""How it is written down what those took whom somebody follows: in the store, and of a person.

Apart from what makes it (`recommender.features.social`), because model servers read it and load no
Arrow for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

FOLLOWED_TOOK = "followed_took"
"""The attribute of a person: a JSON object, item id → how many of those followed took it."""


def attribute_of(took: Mapping[str, int]) -> str:
    """Return the text of the attribute.

    Args:
        took: item id → how many of those followed took it.
    """
    return json.dumps(took, ensure_ascii=False)


def row_of(took: str, users: Sequence[str]) -> str:
    """Return the text that a row of the view `user_social` holds.

    Args:
        took: text of the attribute.
        users: pseudonyms of those followed, by whom the row is found when one is forgotten.
    """
    return json.dumps({"took": json.loads(took), "users": users}, ensure_ascii=False)


def took_in(row: str) -> dict[str, int]:
    """Return what a row tells of items, without the people."""
    took: dict[str, int] = json.loads(row)["took"]
    return took
