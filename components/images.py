"""The container image of each step: one name per step, so that each carries only its own extra.

The tag is what a developer's build makes; a release sets digests (`infra/images`).
"""

VERSION = "0.1.0"


def image(step: str) -> str:
    """Return the image reference of a step."""
    return f"ostinato-{step}:{VERSION}"
