from __future__ import annotations

import pytest
from quality_tables import Row, settings

from recommender.config import Config
from recommender.config.quality import DriftLimits, LogLimits, RowLimits
from recommender.errors import ConfigError


def test_the_defaults_survive_the_way_between_steps() -> None:
    config = settings(quality={"imputation": {"events": {"value": "median"}}})

    assert Config.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        ({"rows": {"unknown_item": {"warn": 0.2, "fail": 0.1}}}, "must not be above fail"),
        ({"rows": {"unknown_item": {"warn": 0, "fail": 1.5}}}, "share of the rows"),
        ({"rows": {"unknown_item": {"fail": 0.1}}}, r"rows\.unknown_item\.warn: missing"),
        ({"rows": {"unknown_itme": {"warn": 0, "fail": 0.1}}}, "unknown_itme: unknown key"),
        ({"log": {"users": {"warn": 1, "fail": 2}}}, "must not be below fail"),
        ({"value_min": 5, "value_max": 1}, "value_min"),
        ({"epoch_start": "1999-01-01T00:00:00"}, "time zone"),
        ({"examples": 0}, "examples"),
    ],
)
def test_limits_that_make_no_sense_are_refused_by_name(quality: Row, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings(quality=quality)


@pytest.mark.parametrize("section", [RowLimits, LogLimits, DriftLimits])
def test_every_limit_is_documented(section: type[RowLimits | LogLimits | DriftLimits]) -> None:
    undocumented = [
        name
        for name, field in section.model_fields.items()
        if not (field.description or "").strip()
    ]

    assert undocumented == []
