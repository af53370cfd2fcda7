"""Names for answers, by which feedback refers to them."""

from __future__ import annotations

import uuid
from typing import Protocol

from serving.ask import Ask


class RequestIds(Protocol):
    """Makes the `request_id` of every answer."""

    def make(self, ask: Ask, version: str) -> str:
        """Return an id that no other answer has.

        Args:
            ask: what was asked.
            version: of the model that answers.
        """
        ...


class RandomIds:
    """Random ids that tell nothing of who asked."""

    def make(self, ask: Ask, version: str) -> str:
        """Return a random UUID."""
        del ask, version
        return str(uuid.uuid4())
