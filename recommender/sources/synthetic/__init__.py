"""Generated data with a known truth: a shop whose visitors' interests drift with time."""

from recommender.sources.synthetic.shop import Truth, generate, generate_with_truth

__all__ = ["Truth", "generate", "generate_with_truth"]
