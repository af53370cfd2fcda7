"""Studies of settings: they begin with what is configured, end bad trials early, and go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_world import tiny_config

from components.tune import step as tune
from recommender.config import Config, parse
from recommender.config.tree import with_settings
from recommender.errors import ConfigError, TrainingError
from recommender.files import read_json
from recommender.training import tuning as studies
from recommender.training.study_findings import Findings, Told
from recommender.training.tuning import Tuning

HERE = Path(__file__).parent


def config_of(root: Path, **tuning) -> Config:
    tree = tiny_config(root, tokens_per_batch=2048, epochs=1).model_dump(mode="json")
    tree["tuning"] = {
        "space": {
            "training.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
            "model.dropout": {"choices": [0.0, 0.2]},
            "training.warmup_steps": {"low": 1, "high": 60, "whole": True},
        },
        "trials": 2,
        "workers": 1,
        **tuning,
    }
    return parse(tree, "test")


class Untrained(list):
    """Trainings by their rates, of no cost: the higher the rate, the better; some are killed."""

    kills: frozenset[int] | set[int] = frozenset()

    def __call__(self, dataset, fold, config, *_):
        self.append(config.training.learning_rate)
        if len(self) in self.kills:
            raise KeyboardInterrupt

        class Done:
            validation_quality = config.training.learning_rate

        return Done


@pytest.fixture
def untrained(monkeypatch) -> Untrained:
    trainings = Untrained()
    monkeypatch.setattr(studies, "train", trainings)
    return trainings


def test_the_configured_settings_come_first_and_the_best_can_be_taken_over(world, tmp_path):
    config = config_of(tmp_path, storage="sqlite")
    tuning = Tuning(world, config)
    tuning.run(0)
    found = tuning.findings()
    assert len(found.trials) == 2
    first = found.trials[0].settings
    assert first == {
        "training.learning_rate": config.training.learning_rate,
        "model.dropout": config.model.dropout,
        "training.warmup_steps": config.training.warmup_steps,
    }
    assert found.best.value == max(each.value for each in found.trials)
    taken = tuning.settings_of(found.trials[1])
    assert taken.training.learning_rate == found.trials[1].settings["training.learning_rate"]
    assert taken.training.refit
    # Trials leave no checkpoints behind, and a study that has what was wanted is done.
    assert not list(config.paths.checkpoints.glob("*/*"))
    tuning.run(0)
    assert len(tuning.findings().trials) == 2


def test_a_worker_killed_in_a_trial_begins_it_again_with_the_same_settings(
    world, tmp_path, monkeypatch
):
    config = config_of(tmp_path)
    seen = []
    original = studies.train

    def told(dataset, fold, config, *rest):
        seen.append((config.training.learning_rate, config.training.warmup_steps))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return original(dataset, fold, config, *rest)

    monkeypatch.setattr(studies, "train", told)
    with pytest.raises(KeyboardInterrupt):
        Tuning(world, config).run(0)
    again = Tuning(world, config)
    again.run(0)
    assert seen[2] == seen[1]
    assert len(seen) == 3
    assert [each.state for each in again.findings().trials] == ["complete", "complete"]


def test_a_trial_that_diverges_is_told_and_the_study_goes_on(world, tmp_path, monkeypatch):
    def diverges(*_):
        raise TrainingError("the loss is nan")

    monkeypatch.setattr(studies, "train", diverges)
    tuning = Tuning(world, config_of(tmp_path))
    tuning.run(0)
    assert [each.state for each in tuning.findings().trials] == ["pruned", "pruned"]
    with pytest.raises(TrainingError, match="no trial of tuning-"):
        _ = tuning.findings().best


def test_a_trial_that_does_worse_than_most_is_ended_early(world, tmp_path, monkeypatch):
    epochs = []

    def like_the_rate(dataset, fold, config, label, on_step, on_epoch):
        from recommender.training.state import Epoch

        quality = 0.5 - config.training.learning_rate * 10
        for number in (1, 2, 3):
            epochs.append(number)
            on_epoch(Epoch("search", number, 1.0, 1.0, None, 1e-3, 1.0, 10, quality=quality))

        class Done:
            validation_quality = quality

        return Done

    monkeypatch.setattr(studies, "train", like_the_rate)
    config = config_of(tmp_path, trials=16, before_pruning=3, patience=1)
    tuning = Tuning(world, config)
    tuning.run(0)
    found = tuning.findings()
    pruned = [each for each in found.trials if each.state == "pruned"]
    assert len(found.trials) == 16
    assert pruned
    assert len(epochs) < 3 * 16
    # The first trials run to their end; the best one is the one with the best figure.
    assert all(each.number >= 3 for each in pruned)
    assert found.best.settings["training.learning_rate"] == min(
        each.settings["training.learning_rate"] for each in found.trials
    )


def test_other_data_settings_or_space_are_another_study(world, tmp_path):
    base = config_of(tmp_path)
    names = {Tuning(world, base).name}
    names.add(Tuning(world, config_of(tmp_path, patience=2)).name)
    other = base.model_copy(update={"seed": 8})
    names.add(Tuning(world, other).name)
    assert len(names) == 3
    # How many trials, and where they are written down, is no part of the problem.
    assert Tuning(world, config_of(tmp_path, trials=50, storage="sqlite")).name in names


@pytest.mark.slow
def test_two_workers_share_one_study_and_make_no_more_trials_than_wanted(tmp_path):
    config = config_of(tmp_path, trials=5, workers=2)
    (tmp_path / "config.json").write_text(config.to_json())
    code = (
        "import sys; from pathlib import Path; from tiny_world import tiny_dataset;"
        "from recommender.config import Config; from recommender.training.tuning import Tuning;"
        "c = Config.from_json(Path(sys.argv[1]).read_text());"
        "Tuning(tiny_dataset(), c).run(int(sys.argv[2]))"
    )
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "config.json"), str(worker)],
            env=environment,
        )
        for worker in (0, 1)
    ]
    assert [each.wait() for each in workers] == [0, 0]
    from tiny_world import tiny_dataset

    found = Tuning(tiny_dataset(), config).findings()
    assert len(found.trials) == 5
    assert len({json.dumps(each.settings) for each in found.trials}) == 5


def test_what_cant_be_searched_is_said_before_anything_is_trained(world, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"model\.depth is no setting"):
        Tuning(world, config_of(tmp_path, space={"model.depth": {"choices": [1, 2]}}))
    for space, why in (
        ({"split.folds": {"choices": [1]}}, "below model or training"),
        ({"model.width": {"low": 8}}, "give choices, or low and high"),
        ({"model.dropout": {"low": 0, "high": 0.5, "log": True}}, "orders of magnitude"),
    ):
        with pytest.raises(ConfigError, match=why):
            config_of(tmp_path, space=space)
    monkeypatch.delenv("OSTINATO_TUNING_STORAGE", raising=False)
    with pytest.raises(ConfigError, match="OSTINATO_TUNING_STORAGE is not set"):
        Tuning(world, config_of(tmp_path, storage="url")).run(0)


@pytest.mark.parametrize(
    ("key", "searched", "configured"),
    [
        ("model.width", {"choices": [32, 128]}, 16),
        ("training.ema", {"low": 0.9, "high": 0.99}, None),
        ("training.weight_decay", {"low": 1e-3, "high": 0.3, "log": True}, 0.0),
    ],
)
def test_what_is_configured_is_tried_as_far_as_the_space_holds_it(
    world, tmp_path, untrained, key, searched, configured
):
    beside = {"model.dropout": {"choices": [0.0, 0.2]}}
    config = config_of(tmp_path, space={key: searched, **beside}, trials=1)
    config = parse(with_settings(config.model_dump(mode="json"), {key: configured}, "test"), "test")
    tuning = Tuning(world, config)
    tuning.run(0)
    (only,) = tuning.findings().trials
    assert only.state == "complete"
    assert only.settings["model.dropout"] == config.model.dropout
    assert only.settings[key] != configured
    assert tuning.findings().configured is None


def test_settings_that_do_not_go_together_are_told_and_the_study_goes_on(
    world, tmp_path, untrained
):
    # Three heads don't divide a width of 16.
    tuning = Tuning(world, config_of(tmp_path, space={"model.heads": {"choices": [3]}}))
    tuning.run(0)
    found = tuning.findings()
    assert [each.state for each in found.trials] == ["pruned", "pruned"]
    assert all("heads" in each.why for each in found.trials)
    with pytest.raises(TrainingError, match="heads") as error:
        _ = found.best
    assert "no trial" in error.value.message
    assert not untrained


def test_the_configured_trial_is_known_whoever_was_first_and_who_was_killed(
    world, tmp_path, untrained
):
    space = {
        "training.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
        "model.ranking.learned_weights": {"choices": [True, False]},
    }
    config = config_of(tmp_path, trials=3, workers=2, space=space)
    untrained.kills = {2, 3}
    with pytest.raises(KeyboardInterrupt):
        Tuning(world, config).run(1)
    with pytest.raises(KeyboardInterrupt):
        Tuning(world, config).run(0)
    Tuning(world, config).run(0)
    found = Tuning(world, config).findings()
    assert found.configured is not None
    assert found.configured.state == "complete"
    assert found.configured.number > 1
    rate = config.training.learning_rate
    assert found.configured.settings["training.learning_rate"] == rate

    world.write(tmp_path / "dataset")
    tune.conclude(config.to_json(), "r1", str(tmp_path / "dataset"), str(tmp_path / "settings"))
    told = read_json(tmp_path / "settings" / "tuning.json")
    assert [each["configured"] for each in told["trials"]].count(True) == 1
    record = read_json(config.paths.run("r1") / "steps" / "tuned.json")
    assert record["summary"]["configured_ndcg@10"] == found.configured.value
    best = yaml.safe_load((tmp_path / "settings" / "best.yaml").read_text())
    assert best == {
        "model": {
            "ranking": {
                "learned_weights": found.best.settings["model.ranking.learned_weights"],
            }
        },
        "training": {"learning_rate": found.best.settings["training.learning_rate"]},
    }


def test_of_equals_the_earlier_trial_is_the_best():
    told = [Told(n, "complete", 0.5, {}, 1) for n in (2, 1, 3)]
    assert Findings("s", tuple(told)).best.number == 1


def test_a_study_made_longer_or_interrupted_draws_what_it_would_have_drawn_at_once(
    world, tmp_path, untrained
):
    at_once = Tuning(world, config_of(tmp_path / "at once", trials=5))
    at_once.run(0)
    expected = [each.settings for each in at_once.findings().trials]
    assert len({json.dumps(each) for each in expected}) == 5

    longer = [config_of(tmp_path / "longer", trials=trials) for trials in (2, 3, 5)]
    for config in longer:
        Tuning(world, config).run(0)
    assert [each.settings for each in Tuning(world, longer[-1]).findings().trials] == expected

    untrained.kills = {len(untrained) + 2, len(untrained) + 4}
    killed = config_of(tmp_path / "killed", trials=5)
    for _ in untrained.kills:
        with pytest.raises(KeyboardInterrupt):
            Tuning(world, killed).run(0)
    Tuning(world, killed).run(0)
    assert [each.settings for each in Tuning(world, killed).findings().trials] == expected
