"""The train step: a data set in, models out, told in pictures and figures."""

import sys
from pathlib import Path

import numpy as np
import pytest
from kfp import dsl, local

from components.train import step as train
from components.train.component import train as train_component
from recommender.artifact import Model
from recommender.config import Config, parse
from recommender.features.dataset import Dataset
from recommender.files import read_json
from recommender.training import curves

sys.path.append(str(Path(__file__).parents[1] / "recommender" / "training"))
from tiny_world import tiny_config, tiny_dataset

RUN = "run-1"


@pytest.fixture(scope="module")
def rolling() -> Dataset:
    """The tiny world, cut three times."""
    return tiny_dataset(folds=3)


@pytest.fixture
def bench(rolling: Dataset, tmp_path: Path) -> tuple[Config, Path]:
    rolling.write(tmp_path / "dataset")
    return tiny_config(tmp_path / "workspace", epochs=1), tmp_path


def run(config: Config, root: Path, out: str = "model") -> Path:
    train.run(config.to_json(), RUN, str(root / "dataset"), str(root / out))
    return root / out


def test_every_fold_gets_a_model_and_the_last_one_is_the_candidate(bench, rolling):
    config, root = bench
    model = run(config, root)
    folders = [model / "folds" / "0", model / "folds" / "1", model / "candidate"]
    assert sorted(p.name for p in model.iterdir()) == ["candidate", "folds", "training.json"]
    assert len(list((model / "folds").iterdir())) == 2
    history = rolling.log.of_types(config.actions.histories, config.actions)
    users = np.arange(len(history.users))
    seen = []
    for folder, fold in zip(folders, rolling.folds, strict=True):
        loaded = Model.load(folder)
        assert loaded.titles == rolling.titles
        assert loaded.history == config.model.history
        asked = history.histories(users, np.full(len(users), fold.test_start), loaded.history)
        seen.append(loaded.scorer.scores(asked))
        assert seen[-1].shape == (len(users), len(rolling.catalogue))
        assert np.isfinite(seen[-1]).all()
    assert not np.array_equal(seen[0], seen[2])


def test_curves_events_record_and_summary_tell_how_it_went(bench):
    config, root = bench
    model = run(config, root)
    folder = config.paths.run(RUN)
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    record = read_json(model / "training.json")
    assert [len(fold["epochs"]) for fold in record["folds"]] == [2, 2, 2]
    search, refit = record["folds"][-1]["epochs"]
    assert (search["phase"], refit["phase"]) == ("search", "refit")
    assert record["folds"][-1]["validation_ndcg"] == search["ndcg"]
    summary = read_json(folder / "steps" / "train.json")["summary"]
    assert summary["models"] == 3
    assert summary["validation_ndcg@10"] == search["ndcg"]
    assert list((folder / "tensorboard").rglob("events.*"))


def test_tensorboard_reads_back_the_curve(bench):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config, root = bench
    record = read_json(run(config, root) / "training.json")
    events = EventAccumulator(str(config.paths.run(RUN) / "tensorboard" / "fold-2-search"))
    events.Reload()
    told = record["folds"][2]["epochs"][0]
    (loss,), (ndcg,) = events.Scalars("loss/item"), events.Scalars("validation/ndcg@10")
    assert loss.value == pytest.approx(told["item_loss"], rel=1e-5)
    assert ndcg.value == pytest.approx(told["ndcg"], rel=1e-5)


def test_checkpoints_are_gone_after_success_and_stay_when_writing_fails(bench, monkeypatch):
    config, root = bench

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(curves, "draw", full_disk)
        with pytest.raises(OSError, match="No space left"):
            run(config, root)
    assert len(list(config.paths.checkpoints.glob("*/checkpoint-*"))) >= 3
    again = run(config, root, "again")
    assert list(config.paths.checkpoints.iterdir()) == []
    # What was trained before the failure is taken up, not trained again: the same bytes.
    for name in ("candidate", "folds/0", "folds/1"):
        weights = [root / out / name / "weights.safetensors" for out in ("model", "again")]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    assert (again / "training.json").read_bytes()


def test_what_a_user_can_mend_ends_the_step_with_one_clear_message(bench):
    config, root = bench
    with pytest.raises(SystemExit, match=r"train: .*nowhere.*does not exist"):
        train.run(config.to_json(), RUN, str(root / "nowhere"), str(root / "model"))
    wild = config.model_dump(mode="json")
    wild["training"] |= {"learning_rate": 1e30, "clip": 1e30}
    with pytest.raises(
        SystemExit, match=r"the loss is [^→]*→ lower training.learning_rate"
    ) as found:
        run(parse(wild, "test"), root)
    assert "Traceback" not in str(found.value)
    step = read_json(config.paths.run(RUN) / "steps" / "train.json")
    assert step["status"] == "failed"
    assert not (root / "model" / "candidate").exists()


@pytest.mark.slow
def test_kfps_local_runner_runs_it(bench):
    config, root = bench
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root / "kfp"),
        raise_on_error=True,
    )

    @dsl.pipeline(name="learn")
    def learn(config: str, run_id: str) -> None:
        data = dsl.importer(
            artifact_uri=str(root / "dataset"), artifact_class=dsl.Dataset, reimport=False
        )
        train_component(config=config, run_id=run_id, dataset=data.output)

    learn(config=config.to_json(), run_id=RUN)
    (written,) = (root / "kfp").rglob("candidate/model.json")
    assert Model.load(written.parent).scorer.kind == "transformer"
    # In a process of its own it comes to the same bytes as here.
    here = run(config, root) / "candidate" / "weights.safetensors"
    assert (written.parent / "weights.safetensors").read_bytes() == here.read_bytes()
