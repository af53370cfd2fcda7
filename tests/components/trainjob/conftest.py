import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path.extend(
    str(folder)
    for folder in (
        Path(__file__).parent,
        TESTS / "serving" / "rollout" / "kserve",
        TESTS / "recommender" / "training",
        TESTS / "recommender" / "registry",
    )
)
