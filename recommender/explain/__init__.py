"""Why somebody is recommended something: which events, and what a model reads, drove a score."""

from recommender.explain.events import Explanation, explain
from recommender.explain.modalities import EVENTS, MEMBER, Contributions, modalities

__all__ = ["EVENTS", "MEMBER", "Contributions", "Explanation", "explain", "modalities"]
