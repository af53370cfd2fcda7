"""A real model on disk, and a registry in a folder or on a real S3 server."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry_models import save_model

from recommender.registry import Registry


@pytest.fixture(autouse=True)
def no_keys_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTINATO_SIGNING_KEY", raising=False)
    monkeypatch.delenv("OSTINATO_PUBLIC_KEY", raising=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tmp_path / "model")


@pytest.fixture(params=["file", "s3"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    if request.param == "file":
        return Registry.open(tmp_path / "registry")
    bucket = request.getfixturevalue("s3_bucket")
    return Registry.open(
        f"s3://{bucket}/models", keys=tmp_path / "keys", cache=tmp_path / "cache" / "models"
    )
