"""Figures of trainings in an MLflow store."""

import pytest
from pydantic import ValidationError
from tiny_world import tiny_config

from recommender.config.tracking import TrackingConfig
from recommender.errors import StorageError
from recommender.training.run import train
from recommender.training.tracking import track


@pytest.fixture
def tracked(tmp_path):
    def make(store: str):
        config = tiny_config(tmp_path / "workspace")
        return config.model_copy(update={"tracking": TrackingConfig(mlflow=store)})

    return make


@pytest.mark.parametrize("store", ["shop", "s3://bucket/x", "https://me:secret@tracker.example/"])
def test_stores_that_cannot_be_or_that_hold_a_password_are_refused(store):
    with pytest.raises(ValidationError, match="mlflow must"):
        TrackingConfig(mlflow=store)


def test_nothing_is_tracked_unless_it_is_asked_for(tmp_path):
    track(tiny_config(tmp_path), "run-1", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_store_holds_the_curve_and_the_settings_of_each_phase(world, tracked, tmp_path):
    from mlflow.tracking import MlflowClient

    config = tracked(f"file:{tmp_path / 'store'}")
    trained = train(world, world.folds[0], config)
    track(config, "run-1", [trained])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = MlflowClient(tracking_uri=config.tracking.mlflow)
        experiment = client.get_experiment_by_name(config.name)
        runs = client.search_runs([experiment.experiment_id])
        assert {run.data.tags["phase"] for run in runs} == {"search", "refit"}
        (search,) = (run for run in runs if run.data.tags["phase"] == "search")
        assert search.data.params["model.width"] == "16"
        assert search.data.tags["fingerprint"] == trained.fingerprint
        told = client.get_metric_history(search.info.run_id, "loss_item")
    wanted = [epoch.item_loss for epoch in trained.curve if epoch.phase == "search"]
    assert [each.value for each in told] == wanted


@pytest.mark.slow
def test_a_store_that_cannot_be_written_is_said_so(tracked, tmp_path):
    (tmp_path / "taken").write_text("no folder")
    with pytest.raises(StorageError, match="MLflow store"):
        track(tracked(f"file:{tmp_path / 'taken'}"), "run-1", [])
