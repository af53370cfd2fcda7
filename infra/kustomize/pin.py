"""Pin the images of an environment by digest: what a release runs after its images are pushed.

    python infra/kustomize/pin.py prod ostinato-stream=registry.example.com/stream@sha256:… …
    python infra/kustomize/pin.py --check prod

A tag is refused, and so is an image that the environment doesn't run or that is left out. `--check`
fails while an image has no digest yet. Needs Python and PyYAML only.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import yaml

OVERLAYS = Path(__file__).parent / "overlays"
_PINNED = re.compile(
    r"(?P<name>[a-z0-9-]+)=(?P<repository>[^@\s]+)@(?P<digest>sha256:[0-9a-f]{64})"
)
_NONE = "sha256:" + 64 * "0"


def unpinned(component: dict) -> list[str]:
    """Return the images of a component that have no digest, or only the placeholder."""
    return [
        each["name"] for each in component["images"] if each.get("digest", _NONE) in ("", _NONE)
    ]


def pinned(component: dict, given: list[str]) -> dict:
    """Return the component with other images.

    Args:
        component: as it is.
        given: `name=repository@sha256:…` for each of its images.

    Raises:
        ValueError: one is not given by digest, is unknown, missing, or given twice.
    """
    found = {}
    for text in given:
        match = _PINNED.fullmatch(text)
        if match is None or match["digest"] == _NONE:
            raise ValueError(f"{text} is not name=repository@sha256:<64 hex digits>")
        if match["name"] in found:
            raise ValueError(f"{match['name']} is given twice")
        found[match["name"]] = match
    known = [each["name"] for each in component["images"]]
    if set(found) != set(known):
        raise ValueError(f"give exactly these images: {', '.join(known)}")
    images = [
        {"name": name, "newName": found[name]["repository"], "digest": found[name]["digest"]}
        for name in known
    ]
    return {**component, "images": images}


def main(arguments: list[str] | None = None, overlays: Path = OVERLAYS) -> int:
    """Pin or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environment")
    parser.add_argument("images", nargs="*", metavar="name=repository@sha256:…")
    parser.add_argument("--check", action="store_true", help="fail while an image has no digest")
    options = parser.parse_args(arguments)
    path = overlays / options.environment / "images" / "kustomization.yaml"
    if not path.is_file():
        sys.stderr.write(f"there is no {path}\n")
        return 2
    text = path.read_text(encoding="utf-8")
    component = yaml.safe_load(text)
    if options.check:
        if left := unpinned(component):
            sys.stderr.write(f"{options.environment}: no digest for {', '.join(left)}\n")
            return 1
        return 0
    try:
        component = pinned(component, options.images)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    heading = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    temporary = path.with_suffix(".tmp")
    temporary.write_text(heading + yaml.safe_dump(component, sort_keys=False), encoding="utf-8")
    temporary.replace(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
