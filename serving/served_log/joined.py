"""The join of served lists and feedback, where those who serve look for it."""

from __future__ import annotations

from recommender.served import joined

__all__ = ["joined"]
