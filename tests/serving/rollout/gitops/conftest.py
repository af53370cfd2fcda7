"""Lets these tests watch the same cluster as those of the KServe target."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "kserve"))
