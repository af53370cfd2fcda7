"""The measure that early stopping keeps the best epoch by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_world import ACTIONS, tiny_config

from recommender.baselines.neural.ranking_cases import RankingCases
from recommender.config import Config, parse
from recommender.config.actions import ActionsConfig
from recommender.errors import ConfigError, TrainingError
from recommender.features.dataset import Dataset
from recommender.files import read_json
from recommender.model.scorer import TransformerScorer
from recommender.training.case_judges import ByError, CaseWindow, judge_of
from recommender.training.curves import draw, validated, write_events, write_record
from recommender.training.ground import Here
from recommender.training.run import train
from recommender.training.trained import Trained

STARS = [{"name": "stars", "events": ["purchase"], "low": 1, "high": 5}]


@pytest.fixture(scope="module")
def starred(world: Dataset) -> Dataset:
    """The shop, where those who bought say how good it is: items of odd rows are better."""
    log = world.log
    random = np.random.default_rng(2)
    stars = 2 + 2 * (log.items % 2) + random.integers(0, 2, len(log))
    bought = log.actions == ACTIONS.code("purchase")
    return replace(world, log=replace(log, values=np.where(bought, stars, np.nan).astype("f4")))


def configured(workspace: Path, keep_by: str, **training: object) -> Config:
    tree = tiny_config(workspace, **training).model_dump(mode="json")
    tree["training"]["keep_by"] = keep_by
    if keep_by == "rmse":
        tree["model"]["ranking"]["values"] = STARS
        tree["training"]["value_weight"] = 1.0
    return parse(tree, "test")


def searched(workspace: Path, keep_by: str) -> Config:
    """Return settings without ties, so that the very best epoch is kept."""
    return configured(workspace, keep_by, epochs=2, tie=0.0, refit=False)


@pytest.fixture(scope="module")
def by_measure(starred: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    return {
        name: train(starred, starred.folds[-1], searched(tmp_path_factory.mktemp(name), name))
        for name in ("ndcg", "auc", "both", "rmse")
    }


def test_the_best_epoch_is_best_by_the_measure_that_was_asked_for(by_measure) -> None:
    for name, found in by_measure.items():
        quality = [epoch.quality for epoch in found.curve]
        assert found.best_epoch == int(np.argmax(quality)) + 1
        assert found.kept_by == name
        assert found.validation_quality == max(quality)
        assert found.validation_users > 0
    for name, others in (("ndcg", ["auc", "rmse"]), ("auc", ["ndcg", "rmse"])):
        for epoch in by_measure[name].curve:
            assert epoch.quality == getattr(epoch, name)
            assert not any(getattr(epoch, other) for other in others)
    for epoch in by_measure["rmse"].curve:
        assert epoch.quality == -epoch.rmse
        assert epoch.ndcg is epoch.auc is None
    for epoch in by_measure["both"].curve:
        told = np.sqrt(epoch.ndcg * max(0.0, 2 * epoch.auc - 1))
        assert epoch.quality == pytest.approx(told)
    # What is looked at changes no step: the curves are those of one training.
    losses = [[epoch.item_loss for epoch in by_measure[name].curve] for name in ("ndcg", "auc")]
    assert losses[0] == losses[1]
    ndcg, both = ([epoch.ndcg for epoch in by_measure[name].curve] for name in ("ndcg", "both"))
    assert ndcg == both


def test_figures_carry_the_name_of_the_measure(by_measure, tmp_path: Path) -> None:
    names = {
        "ndcg": {"ndcg@10"},
        "auc": {"auc_within_users"},
        "rmse": {"minus_relative_rmse"},
        "both": {"ndcg@10", "auc_within_users", "ndcg_and_auc"},
    }
    for name, found in by_measure.items():
        assert set(validated(found.best, name)) == names[name]
        write_events(tmp_path / name, [found])
        events = EventAccumulator(str(tmp_path / name / "fold-0-search"))
        events.Reload()
        written = {tag.removeprefix("validation/") for tag in events.Tags()["scalars"]}
        assert names[name] <= written
        assert not ({"ndcg@10", "auc_within_users"} - names[name]) & written
    write_record(tmp_path / "training.json", [by_measure["rmse"]])
    (fold,) = read_json(tmp_path / "training.json")["folds"]
    assert fold["kept_by"] == "minus_relative_rmse"
    assert fold["validation_quality"] == fold["epochs"][fold["best_epoch"] - 1]["quality"] < 0
    assert fold["validation_ndcg"] is None
    draw(tmp_path / "curves.png", list(by_measure.values()))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_an_error_that_is_killed_with_comes_back_to_the_same_epoch(
    starred: Dataset, tmp_path: Path, by_measure
) -> None:
    config = searched(tmp_path, "rmse")

    seen: list[float | None] = []

    def kill(step: int) -> None:
        # Within the second epoch, when the best so far is a negative number.
        if seen:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            starred,
            starred.folds[-1],
            config,
            on_step=kill,
            on_epoch=lambda epoch: seen.append(epoch.quality),
        )
    assert seen[0] is not None
    assert seen[0] < 0
    again = train(starred, starred.folds[-1], config)
    assert again.best_epoch == by_measure["rmse"].best_epoch
    assert [e.quality for e in again.curve] == [e.quality for e in by_measure["rmse"].curve]


def test_the_auc_is_that_by_which_rankers_of_the_rivals_are_kept(
    starred: Dataset, tmp_path: Path
) -> None:
    config, fold = configured(tmp_path, "auc"), starred.folds[-1]
    scorer = TransformerScorer(
        Here(starred, fold, config).start(fold.validation_start).module, starred.catalogue
    )
    cases = RankingCases.between(starred, fold.validation_start, fold.test_start, config)
    judge = judge_of(starred, fold, config)
    expected = cases.quality(scorer.action_probabilities, config.seed)
    assert judge.judge(scorer).value == expected
    assert 0 < judge.users <= len(judge) == len(cases)


class Always:
    """Foretells the same of everything."""

    def __init__(self, value: float) -> None:
        self.value = value

    def expected_values(self, histories, items):
        return np.full((*items.shape, len(ACTIONS.types)), self.value, np.float32)


def test_the_error_of_who_says_the_mean_is_one(starred: Dataset, tmp_path: Path) -> None:
    config = configured(tmp_path, "rmse")
    judge = judge_of(starred, starred.folds[-1], config)
    assert isinstance(judge, ByError)
    given = judge.given_NG[~np.isnan(judge.given_NG)]
    assert len(judge) == len(given) > 10
    found = judge.judge(Always(given.mean()))
    assert found.rmse == pytest.approx(1.0)
    assert found.value == -found.rmse
    off = judge.judge(Always(given.mean() + 2 * given.std()))
    assert off.rmse == pytest.approx(np.sqrt(5), rel=1e-5)


def test_without_outcomes_it_is_said_what_is_missing(
    world: Dataset, starred: Dataset, tmp_path: Path
) -> None:
    fold, log = world.folds[-1], world.log
    with pytest.raises(TrainingError, match="the error of stars, but no value was given"):
        judge_of(
            replace(world, log=replace(log, values=np.full(len(log), np.nan, np.float32))),
            fold,
            configured(tmp_path, "rmse"),
        )
    same = replace(starred, log=replace(starred.log, values=np.minimum(starred.log.values, 1)))
    with pytest.raises(TrainingError, match="but only 1 was given"):
        judge_of(same, fold, configured(tmp_path, "rmse"))
    # Whoever only ever buys tells nothing apart.
    bought = log.where(log.actions == ACTIONS.code("purchase"))
    for keep_by in ("auc", "both"):
        with pytest.raises(TrainingError, match="nobody took some farther") as told:
            judge_of(replace(world, log=bought), fold, configured(tmp_path, keep_by))
        assert "training.keep_by: ndcg" in told.value.hint
        with pytest.raises(TrainingError, match="0 items in front of 0 people"):
            judge_of(
                replace(world, log=log.before(fold.validation_start)),
                fold,
                configured(tmp_path, keep_by),
            )
    assert len(CaseWindow.of(world, fold, configured(tmp_path, "auc"))) > 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"keep_by": "auc", "action_weight": 0}, "nothing is learned of with action_weight: 0"),
        ({"keep_by": "rmse", "value_weight": 0}, "nothing is learned with value_weight: 0"),
        ({"keep_by": "rmse"}, "model.ranking.values, which has none"),
        ({"keep_by": "mrr"}, "keep_by"),
    ],
)
def test_measures_of_what_is_not_learned_are_refused(tmp_path: Path, wrong, told) -> None:
    with pytest.raises(ConfigError, match=told):
        tiny_config(tmp_path, **wrong)


def test_one_event_type_and_a_search_for_the_measure_are_refused(tmp_path: Path) -> None:
    tree = tiny_config(tmp_path).model_dump(mode="json")
    one = ActionsConfig(types=("view",), history=("view",), success=("view",))
    lonely = tree | {"actions": one.model_dump(), "training": tree["training"] | {"keep_by": "auc"}}
    with pytest.raises(ConfigError, match="tells event types apart"):
        parse(lonely, "test")
    space = {"training.keep_by": {"choices": ["auc", "ndcg"]}}
    with pytest.raises(ConfigError, match="by which trials are compared"):
        parse(tree | {"tuning": {"space": space}}, "test")
