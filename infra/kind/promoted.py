#!/usr/bin/env python3
"""Tell whether a cluster serves what the registry calls champion, and whether a canary made it so.

promoted.py INFERENCESERVICE.json ALIASES.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def problem(service: dict[str, Any], aliases: dict[str, Any]) -> str:
    """Return why no candidate was promoted; "" if one was.

    Args:
        service: the InferenceService.
        aliases: the registry's `aliases.json`.
    """
    champion, predictor = aliases.get("champion"), service["spec"]["predictor"]
    if service["spec"].get("canary"):
        return "a canary is still there"
    place = predictor.get("model", {}).get("storageUri", "")
    if not champion or predictor.get("name") != champion or not place.endswith(f"/{champion}"):
        return f"{predictor.get('name')} is served from {place!r}; the champion is {champion}"
    # The first champion is popularity, which nobody had to beat.
    first = next(move["version"] for move in aliases["history"] if move["alias"] == "champion")
    if champion == first:
        return f"{champion} is still the first champion: the candidate went back"
    return ""


if __name__ == "__main__":
    told = problem(*(json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:]))
    print(told or "promoted")
    sys.exit(bool(told))
