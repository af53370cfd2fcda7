"""Stale features start no server and promote no model; what is served already stays."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest
from shop import Shop

from feature_repo.freshness import now_ms, place_of, read, record
from recommender.config import Config
from recommender.config.freshness import FreshnessConfig
from recommender.errors import ConfigError, FeatureError
from recommender.features.freshness import Freshness
from recommender.workspace import Workspace
from serving import launch, processes
from serving.freshness import is_stale, limits_from_json, limits_of, require_fresh

HOUR = 3_600_000


def limited(config: Config, **limits) -> Config:
    freshness = FreshnessConfig(**limits)
    features = config.features.model_copy(update={"freshness": freshness})
    return config.model_copy(update={"features": features})


def published(paths: Workspace, project: str, age_h: float, **more) -> None:
    moment = now_ms() - int(age_h * HOUR)
    record(place_of(paths, project), [Freshness("user_sequence", moment, moment, 4, **more)])


def test_a_server_refuses_stale_features_with_one_message(tmp_path):
    paths = Workspace(tmp_path)
    published(paths, "by_hand", 30)
    line = [sys.executable, "-m", "serving.server", "--model", str(tmp_path / "none")]
    line += ["--workspace", str(tmp_path), "--project", "by_hand"]
    told = subprocess.run(
        [*line, "--freshness", '{"max_age_hours": 24}'],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 1
    assert "the features of by_hand are stale:" in told.stderr
    assert "1 d 6 h ago; the limit is 1 d (features.freshness.max_age_hours)" in told.stderr
    assert "publish newer ones" in told.stderr
    assert "Traceback" not in told.stderr


def test_the_live_server_is_not_started_on_stale_features_and_the_model_is_not_blamed(shop: Shop):
    strict = limited(shop.config, max_age_hours=24)
    paths = shop.config.paths
    before = read(place_of(paths, "by_hand"))["user_sequence"]
    try:
        published(paths, "by_hand", 25)
        with pytest.raises(FeatureError, match="by_hand are stale"):
            launch.model_server(strict, shop.folder, shop.version, "by_hand")
        assert not [s for s in processes.running(paths) if s.project == "by_hand"]
        assert is_stale(paths, "by_hand", strict.features.freshness)
    finally:
        record(place_of(paths, "by_hand"), [before])
    assert not is_stale(paths, "by_hand", strict.features.freshness)


def test_a_rehearsal_is_about_the_past_and_has_no_limits(shop: Shop):
    strict = limited(shop.config, max_age_hours=1, max_lag_hours=1)
    assert limits_of(strict, "by_hand_rehearsal") == FreshnessConfig()
    assert limits_of(strict, "by_hand") == strict.features.freshness


def test_streamed_events_keep_a_server_startable(tmp_path):
    paths, limits = Workspace(tmp_path), FreshnessConfig(max_age_hours=24)
    published(paths, "by_hand", 30)
    with pytest.raises(FeatureError):
        require_fresh(paths, "by_hand", limits)
    from feature_repo.freshness import Arrivals

    Arrivals(place_of(paths, "by_hand")).note(now_ms() - 5)
    require_fresh(paths, "by_hand", limits)


def test_with_limits_features_that_nobody_dated_are_refused(tmp_path):
    with pytest.raises(FeatureError, match="no publication is recorded"):
        require_fresh(Workspace(tmp_path), "by_hand", FreshnessConfig(max_lag_hours=1))
    require_fresh(Workspace(tmp_path), "by_hand", FreshnessConfig())


def test_a_store_that_is_down_stops_nobody(tmp_path, monkeypatch, caplog):
    for name, value in {
        "OSTINATO_PROFILE": "production",
        "OSTINATO_REDIS": "127.0.0.1:1",
        "OSTINATO_REGISTRY": "sqlite:////nowhere/registry.db",
        "OSTINATO_OFFLINE": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    require_fresh(Workspace(tmp_path), "by_hand", FreshnessConfig(max_age_hours=1))
    assert "nobody knows how fresh" in caplog.text


@pytest.mark.parametrize("text", ["{", '{"max_age": 1}', '{"max_age_hours": -1}'])
def test_wrong_limits_on_the_command_line_are_named(text):
    with pytest.raises(ConfigError, match="--freshness is wrong"):
        limits_from_json(text)


def test_a_model_server_shows_how_fresh_its_features_are(shop: Shop):
    lax = limited(shop.config, max_age_hours=1000)
    server = launch.model_server(lax, shop.folder, shop.version, "by_hand")
    try:

        def shown() -> dict[str, float]:
            text = httpx.get(f"{server.url}/metrics", trust_env=False).text
            lines = [line for line in text.splitlines() if line.startswith("ostinato_feature_")]
            return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}

        age = 'ostinato_feature_age_seconds{project="by_hand",view="user_sequence"}'
        first = shown()
        assert 0 <= first[age] < 3600
        assert first['ostinato_feature_freshness_known{project="by_hand"}'] == 1
        limit = 'ostinato_feature_age_limit_seconds{project="by_hand",view="user_sequence"}'
        assert first[limit] == 3_600_000
        # Worked out at the scrape, not at the start.
        before = read(place_of(shop.config.paths, "by_hand"))["user_sequence"]
        published(shop.config.paths, "by_hand", 1001)
        again = shown()
        record(place_of(shop.config.paths, "by_hand"), [before])
        assert again[age] > 3_600_000
        assert again['ostinato_feature_stale{project="by_hand",view="user_sequence"}'] == 1
        assert shown()['ostinato_feature_stale{project="by_hand",view="user_sequence"}'] == 0
    finally:
        processes.stop(shop.config.paths, server)
