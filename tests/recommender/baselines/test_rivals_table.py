"""The table of rivals: every name that can be configured is fitted, stored and found again."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import get_args

import pytest

from recommender.artifact import KINDS
from recommender.baselines.rivals import FITS, RANKERS
from recommender.config.evaluation import Rival


def test_every_name_of_the_configuration_has_a_row_and_a_kind() -> None:
    assert set(get_args(Rival)) == set(FITS)
    assert set(FITS) < set(KINDS)
    assert set(RANKERS) < set(FITS)


def test_every_rival_has_a_row_in_the_documentation() -> None:
    page = Path(__file__).parents[3] / "docs" / "rivals.md"
    rows = [line.split("|")[1] for line in page.read_text().splitlines() if line.startswith("| `")]
    told = [name.strip().strip("`") for row in rows for name in row.split(",")]
    assert sorted(told) == sorted(get_args(Rival))


@pytest.mark.parametrize("rival", get_args(Rival))
def test_every_row_leads_somewhere(rival: str) -> None:
    module, name = FITS[rival].split(":")
    assert callable(getattr(importlib.import_module(f"recommender.baselines.{module}"), name))
    module, name = KINDS[rival].split(":")
    assert getattr(importlib.import_module(module), name).kind == rival
