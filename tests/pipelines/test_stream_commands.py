"""`ostinato stream` explains itself and says what is missing."""

from __future__ import annotations

import pytest
import yaml
from tables_by_hand import ACTIONS
from typer.testing import CliRunner

from feature_repo.stream.event import StreamEvent
from feature_repo.stream.landing import Landing
from pipelines.cli import app
from recommender.errors import ConfigError


@pytest.fixture
def shop(tmp_path):
    path = tmp_path / "shop.yaml"
    tree = {"name": "shop", "source": {"kind": "synthetic"}, "actions": ACTIONS}
    path.write_text(yaml.safe_dump({**tree, "workspace": str(tmp_path / "space")}))
    return path


def ran(*words: str):
    return CliRunner().invoke(app, ["stream", *words])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Bring events into the online sequences"),
        (("http", "--help"), "POST /events"),
        (("kafka", "--help"), "librdkafka"),
    ],
)
def test_every_command_explains_itself(words, said):
    assert said in ran(*words).output


def test_what_is_missing_is_said(shop, monkeypatch):
    for name in ("OSTINATO_KAFKA_BOOTSTRAP_SERVERS", "OSTINATO_STREAM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    told = ran("kafka", "--topic", "events", "-c", str(shop))
    assert isinstance(told.exception, ConfigError)
    assert "OSTINATO_KAFKA_BOOTSTRAP_SERVERS" in told.exception.message
    told = ran("http", "--host", "0.0.0.0", "-c", str(shop))
    assert "OSTINATO_STREAM_TOKEN is not set" in told.exception.message
    told = ran("http", "--tls-cert", "cert.pem", "-c", str(shop))
    assert "both a certificate and its key" in told.exception.message


def test_landed_files_are_joined(shop, tmp_path):
    landing = Landing(str(tmp_path / "space" / "features" / "offline" / "shop"))
    for n in range(3):
        landing.land([StreamEvent(f"e{n}", "u1", "a", "click", n)], n)
    assert "joined 3 files" in ran("compact", "-c", str(shop)).output
    assert landing.files() == 1
