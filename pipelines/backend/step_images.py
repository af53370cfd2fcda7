"""A compiled pipeline with the images that a release has pushed, instead of a developer's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from recommender.errors import ConfigError

_IMAGE = re.compile(r"^(?P<before>\s+image: )(?P<name>ostinato-[a-z-]+):\S+$", re.MULTILINE)
PLACEHOLDER = "@sha256:" + 64 * "0"
"""How the digest ends that an overlay has before its first release."""


def with_images(package: Path, images: Mapping[str, str]) -> str:
    """Return a compiled pipeline's YAML with every image as `backend.images` has it.

    Args:
        package: the compiled pipeline.
        images: reference by name (`ostinato-train`); empty: as compiled.

    Raises:
        ConfigError: some of the pipeline's images are given and others aren't, or a digest is the
            placeholder of an overlay.
    """
    text = package.read_text(encoding="utf-8")
    if not images:
        return text
    used = {match["name"] for match in _IMAGE.finditer(text)}
    missing = sorted(used - set(images))
    if missing:
        raise ConfigError(
            f"backend.images lacks {', '.join(missing)}, which {package.stem} runs",
            "give every image of the pipeline, or none",
        )
    unpinned = sorted(name for name in used if images[name].endswith(PLACEHOLDER))
    if unpinned:
        raise ConfigError(
            f"backend.images has no digest yet for {', '.join(unpinned)}",
            "push the images and run infra/kustomize/pin.py",
        )
    return _IMAGE.sub(lambda match: match["before"] + images[match["name"]], text)
