"""What is learned without outcomes: before training, or beside it."""

from __future__ import annotations

from recommender.config import Config
from recommender.features.sequences import Catalogue, Ints
from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch
from recommender.training.checkpoint import Checkpoints
from recommender.training.examples import Examples
from recommender.training.loop import fit
from recommender.training.objective import Objective
from recommender.training.self_supervision import SelfSupervision
from recommender.training.state import Phase
from recommender.training.tasks import Lost


def objective_of(examples: Examples, config: Config, targets_I: Ints | None = None) -> Objective:
    """Return the losses of a training: its tasks', and those that need no outcome where wanted.

    Args:
        examples: what the batches are cut from.
        config: the whole tree.
        targets_I: how often each item is a target, where `examples` are a part only, (I,).
    """
    settings = config.self_supervision
    beside = settings.weighs and not settings.pretraining_epochs
    extra = SelfSupervision(settings) if beside else None
    return Objective(examples, config.training, targets_I, extra)


def pretrain(
    module: UnifiedTransformer,
    examples: Examples,
    catalogue: Catalogue,
    config: Config,
    checkpoints: Checkpoints,
    cut: int,
) -> None:
    """Let a module learn from histories and items alone, in place.

    Its checkpoints lie with those of the training that follows; once it is over it is taken up
    from the last of them, not done again.

    Args:
        module: fresh.
        examples: whose windows are read.
        catalogue: the items.
        config: the whole tree.
        checkpoints: of the training.
        cut: of the examples, UTC milliseconds.

    Raises:
        TrainingError: a loss or gradient is not finite.
    """
    settings = config.self_supervision
    epochs = settings.pretraining_epochs
    own = Checkpoints(checkpoints.folder / f"pretraining-{cut}", checkpoints.fingerprint)
    phase = Phase("pretraining", examples, None, epochs, config.seed)
    loop = config.training.model_copy(update={"epochs": epochs})
    alone = _Alone(examples, config.training, beside=SelfSupervision(settings))
    fit(phase, module, catalogue, loop, own, "pretraining", objective=alone)


class _Alone(Objective):
    """What needs no outcome, and nothing else."""

    def __call__(self, module: UnifiedTransformer, batch: Batch) -> Lost:
        nothing = module.log_scale.new_zeros(())
        total = nothing if self.beside is None else self.beside(module, batch)
        if not total.requires_grad:
            total = total + 0 * module.log_scale  # a batch without history
        return Lost(total, nothing, nothing, total)
