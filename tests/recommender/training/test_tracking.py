"""Figures of trainings in an MLflow store."""

from dataclasses import replace

import pytest
from pydantic import ValidationError
from tiny_world import tiny_config

from recommender.config.tracking import TrackingConfig
from recommender.training.state import Epoch
from recommender.training.tracking import Tracker
from recommender.training.trained import Trained


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


def epoch(number: int, phase: str = "search") -> Epoch:
    told = Epoch(phase, number, 3.0 / number, 1.0, 0.1, 1e-3, 2.0, 100)
    return replace(told, step=10 * number, ended=1_700_000_000_000 + number)


def ended(*curve: Epoch) -> Trained:
    return Trained(None, curve, 1, 1, 1, "print")


def runs_of(config):
    from mlflow.tracking import MlflowClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        client = MlflowClient(tracking_uri=config.tracking.mlflow)
        experiment = client.get_experiment_by_name(config.name)
        for run in client.search_runs([experiment.experiment_id]):
            yield run, client.get_metric_history(run.info.run_id, "loss_item")


def test_nothing_is_tracked_unless_it_is_asked_for(tmp_path):
    tracker = Tracker(tiny_config(tmp_path), "run-1")
    tracker.of(0)(epoch(1))
    tracker.finish([ended(epoch(1))])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_epochs_are_told_as_they_end_and_a_killed_training_goes_on_in_its_run(tracked, tmp_path):
    config = tracked(f"file:{tmp_path / 'store'}")
    Tracker(config, "run-1").of(0)(epoch(1))
    ((run, told),) = runs_of(config)
    assert (run.info.status, run.data.params["model.width"]) == ("RUNNING", "16")
    assert [(each.value, each.step, each.timestamp) for each in told] == [
        (3.0, 10, 1_700_000_000_001)
    ]
    # Killed here; what is told again is told once, and what was missed is told in the end.
    again = Tracker(config, "run-1")
    again.of(0)(epoch(1))
    again.finish([ended(epoch(1), epoch(2), epoch(1, "refit"))])
    found = {run.data.tags["phase"]: (run, told) for run, told in runs_of(config)}
    assert set(found) == {"search", "refit"}
    run, told = found["search"]
    assert [each.step for each in told] == [10, 20]
    assert run.info.status == "FINISHED"
    assert run.data.tags["fingerprint"] == "print"


@pytest.mark.slow
def test_a_store_that_is_away_is_said_and_fails_no_training(tracked, tmp_path, caplog):
    (tmp_path / "taken").write_text("no folder")
    tracker = Tracker(tracked(f"file:{tmp_path / 'taken'}"), "run-1")
    for number in (1, 2):
        tracker.of(0)(epoch(number))
    assert caplog.text.count("can't be written") == 1
    tracker.finish([ended(epoch(1), epoch(2))])
    assert "told no more" in caplog.text
