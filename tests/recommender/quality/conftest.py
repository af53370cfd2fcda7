"""What the tests of data quality share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from quality_judging import Change, Judged, read
from quality_tables import shop, spoiled

from recommender.quality.accepted import Accepted
from recommender.quality.validation import Validation
from recommender.tables import Tables


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    """Validates a shop after `change` has spoiled it."""

    def judge(
        change: Change | Tables | None = None,
        *,
        against: Accepted | None = None,
        docs: bool = False,
        **more: Any,
    ) -> Validation:
        tables = change if isinstance(change, Tables) else shop()
        if callable(change):
            tables = spoiled(tables, change)
        (tmp_path / "data").mkdir(exist_ok=True)
        tables.write(tmp_path / "data")
        return read(tmp_path, against=against, docs=docs, **more)

    return judge
