"""What no cluster could serve is refused before hours of training, and not in the last step."""

from __future__ import annotations

from pathlib import Path

import pytest
from kfp_server import KfpServer

from pipelines.backend.connection import connect
from pipelines.backend.schedule import apply
from pipelines.backend.step_resources import uploaded
from pipelines.backend.submit import submit
from pipelines.compile import FOLDER
from recommender.config import Config, load
from recommender.errors import ConfigError

SYNTHETIC = Path(__file__).parents[3] / "configs" / "synthetic.yaml"
BUCKET = {"registry.location": "s3://registry/shop"}
GIT = {
    "rollout.target": "gitops",
    "rollout.targets.gitops.repository": "https://git.test/shop.git",
}
ZEROS = "ostinato-serve@sha256:" + 64 * "0"


@pytest.fixture
def server():
    with KfpServer() as running:
        yield running


def config_for(server: KfpServer, **settings: object) -> Config:
    return load(SYNTHETIC, {"backend.host": server.url, "backend.attempts": 1, **settings})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rollout.target": "kserve"}, "registry.location is the workspace"),
        (GIT, "registry.location is the workspace"),
        ({"rollout.target": "kserve", "registry.location": "/models"}, "location is /models"),
        (GIT | {"registry.location": "file:///models"}, "location is file:///models"),
        (GIT | BUCKET | {"rollout.targets.gitops.image": ZEROS}, "gitops.image has no digest"),
        (
            {"rollout.target": "kserve", "rollout.targets.kserve.image": ZEROS} | BUCKET,
            "kserve.image has no digest",
        ),
    ],
)
def test_a_run_whose_model_no_cluster_could_serve_is_refused(server, settings, words):
    config = config_for(server, **settings)
    with pytest.raises(ConfigError, match=words):
        submit(connect(config), config)
    nightly = {"pipeline": "refresh", "cron": "0 30 2 * * *"}
    config = config_for(server, **settings, **{"backend.schedules": {"nightly": nightly}})
    with pytest.raises(ConfigError, match=words):
        apply(connect(config), config)
    assert server.runs == server.recurring == {}


@pytest.mark.parametrize(
    "settings",
    [
        {"rollout.target": "kserve"} | BUCKET,
        GIT | BUCKET | {"rollout.targets.gitops.image": ZEROS.replace("0", "a")},
        # Nothing is looked for on a cluster.
        GIT | {"rollout.targets.gitops.observe": "none"},
        {},
    ],
)
def test_what_a_cluster_can_serve_is_taken(server, settings):
    config = config_for(server, **settings)
    assert submit(connect(config), config).created


def test_a_study_rolls_nothing_out_and_may_keep_its_models_where_it_likes(server):
    config = config_for(server, **{"rollout.target": "kserve"})
    package = FOLDER / "tuning.yaml"
    assert uploaded(package, config) == package.read_text()
