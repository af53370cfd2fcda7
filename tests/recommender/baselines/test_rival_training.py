"""The loop of the trained rivals: the best epoch is found, then everything is learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from rival_worlds import config_of, ring
from torch import Tensor, nn

from recommender.baselines.neural.training import Task, train
from recommender.baselines.rivals import fit
from recommender.config import Config
from recommender.config.evaluation import Rival
from recommender.errors import TrainingError
from recommender.split import Fold

FOLD = Fold(100, 200, 300)


class Counter(nn.Module):
    """Learns one number, and counts the batches that it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.randn(1))
        self.register_buffer("seen", torch.zeros(1))

    def loss(self, batch: Tensor) -> Tensor:
        self.seen += 1
        return (self.number - batch).square().sum()


class Watched:
    """Makes tasks of two batches an epoch, and remembers of which cuts."""

    def __init__(self, batches: int = 2, goal: float = 3.0) -> None:
        self.cuts: list[int] = []
        self.starts: list[float] = []
        self.batches, self.goal = batches, goal

    def __call__(self, cut: int) -> Task[Counter]:
        self.cuts.append(cut)
        module = Counter()
        self.starts.append(module.number.item())

        def batches(random: np.random.Generator) -> Iterator[Tensor]:
            del random
            yield from torch.full((self.batches, 1), self.goal)

        return Task(module, batches, module.loss)


def refitting(*, refit: bool, **neural: object) -> Config:
    config = config_of(**neural)
    training = config.training.model_copy(update={"refit": refit})
    return config.model_copy(update={"training": training})


def best_at(epoch: int) -> Callable[[Counter], float]:
    return lambda module: -abs(module.seen.item() - 2 * epoch)


def test_the_refit_is_fresh_and_runs_for_as_many_epochs_as_were_best() -> None:
    made = Watched()
    module = train("toy", made, best_at(3), FOLD, refitting(refit=True, patience=2))
    assert made.cuts == [100, 200]
    assert made.starts[0] == made.starts[1]
    assert module.seen.item() == 6
    assert not module.training


def test_without_a_refit_the_weights_of_the_best_epoch_are_kept() -> None:
    made = Watched()
    module = train("toy", made, best_at(2), FOLD, refitting(refit=False, epochs=9, patience=3))
    assert made.cuts == [100]
    assert module.seen.item() == 4


def test_where_nothing_can_be_judged_all_epochs_are_run_before_the_test_window() -> None:
    made = Watched()
    module = train("toy", made, None, FOLD, refitting(refit=True, epochs=5))
    assert made.cuts == [200]
    assert module.seen.item() == 10


def test_the_search_gives_up_after_its_patience() -> None:
    asked: list[float] = []

    def judge(module: Counter) -> float:
        asked.append(module.seen.item())
        return -len(asked)

    train("toy", Watched(), judge, FOLD, refitting(refit=False, epochs=30, patience=4))
    assert len(asked) == 5


def test_a_limit_of_cpu_time_ends_a_training() -> None:
    module = train("toy", Watched(), None, FOLD, refitting(refit=True, cpu_seconds=1e-9))
    assert module.seen.item() == 1


def test_a_loss_that_is_no_number_ends_the_training_with_a_word_on_where() -> None:
    with pytest.raises(TrainingError, match=r"toy: the loss is nan.* at step 1") as caught:
        train("toy", Watched(goal=float("nan")), None, FOLD, refitting(refit=True))
    assert "learning_rate" in (caught.value.hint or "")


def test_nothing_to_learn_is_told() -> None:
    with pytest.raises(TrainingError, match="nothing lies before the cut"):
        train("toy", Watched(batches=0), None, FOLD, refitting(refit=True))


@pytest.mark.parametrize("name", ["sasrec", "bert4rec", "matrix-factorisation", "din", "xdeepfm"])
def test_a_cut_before_all_events_is_told(name: Rival) -> None:
    dataset = ring(users=4)
    with pytest.raises(TrainingError, match=f"{name}: nothing lies before the cut"):
        fit(name, dataset, Fold(1, 1, 1), config_of())


def test_the_same_seed_gives_the_same_weights() -> None:
    one, other = (train("toy", Watched(), None, FOLD, refitting(refit=True)) for _ in range(2))
    torch.testing.assert_close(one.number, other.number, rtol=0, atol=0)
