"""The container image of each step: one name per step, so that each carries only its own extra.

The tag is what a developer's build makes. A release gives every image by digest in the
configuration (`backend.images`, written by `infra/kustomize/pin.py`); it is put into the pipeline
when that is uploaded.
"""

VERSION = "0.1.0"


def image(step: str) -> str:
    """Return the image reference of a step."""
    return f"ostinato-{step}:{VERSION}"
