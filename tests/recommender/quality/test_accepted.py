from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from quality_tables import settings, shop

from recommender.errors import StorageError
from recommender.quality.accepted import Accepted, accept, baseline
from recommender.quality.statistics import Statistics


def version(name: str, events: int = 600) -> Accepted:
    statistics = Statistics.of(shop(), settings().actions)
    return Accepted(name, "2024-12-31", dataclasses.replace(statistics, events=events))


def test_the_first_version_is_compared_with_nothing(tmp_path: Path) -> None:
    assert baseline(tmp_path, "d-1") is None


def test_what_was_accepted_is_read_back_as_it_was(tmp_path: Path) -> None:
    accept(tmp_path, version("d-1"))

    assert baseline(tmp_path, "d-2") == version("d-1")


def test_validating_the_current_version_again_compares_with_the_one_before_it(
    tmp_path: Path,
) -> None:
    accept(tmp_path, version("d-1"))
    assert baseline(tmp_path, "d-1") is None

    accept(tmp_path, version("d-2"))
    accept(tmp_path, version("d-2", events=601))

    assert baseline(tmp_path, "d-2") == version("d-1")
    assert baseline(tmp_path, "d-3") == version("d-2", events=601)


@pytest.mark.parametrize("content", ["{", "[]", '{"current": {"data_version": "d-1"}}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "accepted.json").write_text(content)

    with pytest.raises(StorageError, match=r"accepted\.json"):
        baseline(tmp_path, "d-2")
