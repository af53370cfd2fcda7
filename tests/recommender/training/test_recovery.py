"""What goes wrong in the middle of training, and what is done about it; and running means."""

import numpy as np
import pytest
import torch

from recommender.errors import TrainingError
from recommender.training import pretraining
from recommender.training.ground import Here
from recommender.training.loop import fit
from recommender.training.objective import Objective
from recommender.training.rows import RowAdamW
from recommender.training.run import forget, train
from recommender.training.state import Phase
from recommender.training.team import Alone


class Faulty(Objective):
    """Gives no number at some steps, as a batch of bad data would."""

    steps: tuple[int, ...] = ()
    asked = 0

    def __call__(self, module, batch):
        lost = super().__call__(module, batch)
        type(self).asked += 1
        bad = type(self).asked in self.steps
        return lost._replace(total=lost.total * float("nan")) if bad else lost


def faulty(*steps):
    return type("FaultyAt", (Faulty,), {"steps": steps, "asked": 0})


def test_a_loss_that_is_no_number_sends_it_back_and_on_with_half_the_rate(
    world, settings, monkeypatch, caplog
):
    plain = train(world, world.folds[-1], settings(epochs=1, refit=False))
    monkeypatch.setattr(pretraining, "Objective", faulty(5))
    config = settings(epochs=1, refit=False, learning_rate=2.9e-3)
    mended = train(world, world.folds[-1], config)
    assert "fingerprint" in caplog.text
    assert "going on from step 3 with half the learning rate (1 of 3 times)" in caplog.text
    assert len(mended.curve) == len(plain.curve)
    assert all(torch.from_numpy(w).isfinite().all() for w in mended.model.scorer.weights().values())


def test_before_the_first_checkpoint_it_starts_again(world, settings, monkeypatch, caplog):
    monkeypatch.setattr(pretraining, "Objective", faulty(2))
    train(world, world.folds[-1], settings(epochs=1, refit=False, learning_rate=2.8e-3))
    assert "going on from step 0 with half the learning rate" in caplog.text


class LaterProcess(Alone):
    """One that takes the first process's weights over when the group is made, as DDP does."""

    def losses(self, module, objective):
        with torch.no_grad():
            module.log_scale.add_(0.5)
        self.seen = []

        def lost(batch):
            self.seen.append(module.log_scale.item())
            return objective(module, batch)

        return lost


def test_a_process_of_a_group_goes_back_to_what_the_others_go_back_to(world, settings):
    config, fold = settings(epochs=1, refit=False, learning_rate=2.6e-3), world.folds[-1]
    ground, team = Here(world, fold, config), LaterProcess()
    start = ground.start(fold.validation_start)
    fit(
        Phase("search", start.examples, None, 1, config.seed),
        start.module,
        world.catalogue,
        config.training,
        ground.checkpoints,
        "test",
        team=team,
        objective=faulty(1)(start.examples, config.training),
    )
    assert team.seen[1] == team.seen[0] != team.seen[2]


def test_it_gives_up_after_as_many_attempts_as_are_allowed(world, settings, monkeypatch):
    made = faulty(*range(1, 99))
    monkeypatch.setattr(pretraining, "Objective", made)
    with pytest.raises(TrainingError, match="fingerprint"):
        train(world, world.folds[-1], settings(recoveries=2, learning_rate=2.7e-3))
    assert made.asked == 3


def test_running_means_and_gathered_gradients_survive_being_stopped(world, settings):
    options = {"ema": 0.9, "accumulate": 2, "epochs": 1, "refit": False}
    whole = train(world, world.folds[-1], settings(**options))

    def stop(step):
        if step == 4:
            raise KeyboardInterrupt

    # How often a checkpoint is written has no say in what comes of it, and makes no other training.
    config = settings(**options, checkpoint_every_steps=2)
    forget(world, world.folds[-1], config)
    with pytest.raises(KeyboardInterrupt):
        train(world, world.folds[-1], config, on_step=stop)
    again = train(world, world.folds[-1], config)
    for name, value in whole.model.scorer.weights().items():
        torch.testing.assert_close(
            torch.from_numpy(again.model.scorer.weights()[name]),
            torch.from_numpy(value),
            rtol=0,
            atol=0,
        )


@pytest.mark.parametrize(("broken", "back"), [(6, 3), (14, 12)], ids=["mid-epoch", "at its end"])
def test_weights_that_are_no_numbers_are_never_the_state_to_go_back_to(
    world, settings, monkeypatch, caplog, broken, back
):
    step, taken = RowAdamW.step, []

    def overflowing(self, *arguments):
        step(self, *arguments)
        taken.append(1)
        if len(taken) == broken:
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(float("inf"))

    monkeypatch.setattr(RowAdamW, "step", overflowing)
    rate = 2.5e-3 + 1e-6 * broken
    mended = train(world, world.folds[-1], settings(epochs=1, refit=False, learning_rate=rate))
    assert f"going on from step {back} with half the learning rate (1 of 3 times)" in caplog.text
    assert "(2 of 3 times)" not in caplog.text
    assert "damaged" not in caplog.text
    assert all(np.isfinite(weights).all() for weights in mended.model.scorer.weights().values())
