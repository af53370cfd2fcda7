"""Why somebody is recommended something: which past events, and what about them, drove a score."""

from recommender.explain.events import Explanation, explain
from recommender.explain.modalities import REST, modalities

__all__ = ["REST", "Explanation", "explain", "modalities"]
