"""Judging a small shop, and reading the outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from quality_tables import NOW, Row, settings

from recommender.errors import DataQualityError
from recommender.quality.accepted import Accepted
from recommender.quality.judge import Finding
from recommender.quality.validation import Validation, validate

Change = Callable[[list[Row], list[Row], list[Row]], object]
Judged = Callable[..., Validation]


def pseudonym(user: str) -> str:
    return "p" + hashlib.sha256(user.encode()).hexdigest()[:8]


def read(
    folder: Path, *, against: Accepted | None = None, docs: bool = False, **more: Any
) -> Validation:
    """Validate what lies in `folder`; the Data Docs, a quarter of the work, only if asked for."""
    return validate(
        folder / "data",
        settings(**more),
        data_version="d-test",
        now=NOW,
        against=against,
        pseudonym=pseudonym,
        docs=folder / "docs" if docs else None,
    )


def refusal(validation: Validation) -> str:
    with pytest.raises(DataQualityError) as caught:
        validation.sound(Path("runs/r1/validation.html"))
    return str(caught.value)


def named(validation: Validation, name: str, severity: str) -> Finding:
    return next(f for f in validation.findings if (f.name, f.severity) == (name, severity))


def broken(validation: Validation) -> dict[str, str]:
    return {f.name: f.severity for f in (*validation.warnings, *validation.critical)}
