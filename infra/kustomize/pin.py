"""Pin the images of an environment by digest: what a release runs after its images are pushed.

    python infra/kustomize/pin.py prod ostinato-stream=registry.example.com/stream@sha256:… …
    python infra/kustomize/pin.py --check prod

Servers are pinned in `images/`, the steps of a run in `config.yaml` (`backend.images`), and there
the model server, too (`rollout.targets.*.image`), as a rollout makes a runtime of it for each
version. A tag is refused, and so is an image that the environment doesn't run or that is left
out. `--check` fails while an image has no digest yet, or names of buckets and roles no account.
Needs Python and PyYAML only.
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
_STEP = re.compile(r"^(    )(ostinato-[a-z-]+): (\S+)$", re.MULTILINE)
_SERVER = re.compile(r"^(      image: )(\S+)$", re.MULTILINE)
_SERVER_NAME = "ostinato-serve"
_ACCOUNT = "ACCOUNT"


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


def steps_of(config: str) -> dict[str, str]:
    """Return the images of a run's steps in the text of a `config.yaml`, by name."""
    given: dict[str, str] = (yaml.safe_load(config).get("backend") or {}).get("images") or {}
    found = {match[2]: match[3] for match in _STEP.finditer(config)}
    if found != given:
        raise ValueError("backend.images must be lines of their own: `    ostinato-train: …`")
    return given


def server_of(config: str) -> dict[str, str]:
    """Return the model server's image in the text of a `config.yaml`, by name; empty: none."""
    rollout = yaml.safe_load(config).get("rollout") or {}
    target = (rollout.get("targets") or {}).get(rollout.get("target")) or {}
    given = [str(target["image"])] if target.get("image") else []
    if given != [match[2] for match in _SERVER.finditer(config)]:
        raise ValueError("rollout.targets.*.image must be one line of its own: `      image: …`")
    return dict.fromkeys([_SERVER_NAME], given[0]) if given else {}


def unfilled(folder: Path) -> list[str]:
    """Return the files of an overlay in which the account's number is still a placeholder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    named = [path for path in files if _ACCOUNT in path.read_text(encoding="utf-8")]
    return [path.relative_to(folder).as_posix() for path in named]


def main(arguments: list[str] | None = None, overlays: Path = OVERLAYS) -> int:
    """Pin or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environment")
    parser.add_argument("images", nargs="*", metavar="name=repository@sha256:…")
    parser.add_argument("--check", action="store_true", help="fail while a placeholder is left")
    options = parser.parse_args(arguments)
    path = overlays / options.environment / "images" / "kustomization.yaml"
    if not path.is_file():
        sys.stderr.write(f"there is no {path}\n")
        return 2
    text = path.read_text(encoding="utf-8")
    component = yaml.safe_load(text)
    config_path = overlays / options.environment / "config.yaml"
    config = config_path.read_text(encoding="utf-8")
    steps = steps_of(config) | server_of(config)
    if options.check:
        left = unpinned(component)
        left += [name for name, image in steps.items() if not _is_pinned(name, image)]
        if left:
            sys.stderr.write(f"{options.environment}: no digest for {', '.join(left)}\n")
        unnamed = unfilled(overlays / options.environment)
        if unnamed:
            told = f"{_ACCOUNT} for the account's number in {', '.join(unnamed)}"
            sys.stderr.write(f"{options.environment}: {told}\n")
        return 1 if left or unnamed else 0
    try:
        known = [each["name"] for each in component["images"]]
        both = pinned({"images": [{"name": name} for name in (*known, *steps)]}, options.images)
        images = {each["name"]: each for each in both["images"]}
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    component = {**component, "images": [images[name] for name in known]}
    heading = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    _write(path, heading + yaml.safe_dump(component, sort_keys=False))

    def line(match: re.Match[str]) -> str:
        image = images[match[2]]
        return f"{match[1]}{match[2]}: {image['newName']}@{image['digest']}"

    def server(match: re.Match[str]) -> str:
        image = images[_SERVER_NAME]
        return f"{match[1]}{image['newName']}@{image['digest']}"

    # As text: people own the rest of this file, comments and all.
    _write(config_path, _SERVER.sub(server, _STEP.sub(line, config)))
    return 0


def _is_pinned(name: str, image: str) -> bool:
    match = _PINNED.fullmatch(f"{name}={image}")
    return match is not None and match["digest"] != _NONE


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
