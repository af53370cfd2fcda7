"""Lists of the pipelines API, which come in pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_PAGE = 100


def named(name: str) -> str:
    """Return a filter for things of exactly this display name."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def everything(call: Callable[..., Any], field: str) -> list[Any]:
    """Return what is listed, of all pages.

    Args:
        call: takes `page_token` and `page_size`.
        field: of the answer that holds the things.
    """
    found: list[Any] = []
    token = ""
    while True:
        page = call(page_token=token, page_size=_PAGE)
        found += getattr(page, field) or []
        token = page.next_page_token or ""
        if not token:
            return found
