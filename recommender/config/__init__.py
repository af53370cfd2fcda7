"""The configuration: one frozen, validated tree with documented fields."""

from recommender.config.tree import Config, load, parse

__all__ = ["Config", "load", "parse"]
