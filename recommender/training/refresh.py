"""A refresh: the champion goes on learning, on what happened since it was trained.

It reads the new moments (with the history before them) and a replay of earlier ones, starts from
the champion's weights, and is pulled back to them. Items that are new get an id part of their own;
popularity is as of the new cut. Nothing is searched for: the number of passes is configured, and
whether the result may serve is for the gate to say.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recommender.artifact import Model, service_of
from recommender.config import Config
from recommender.config.training import TrainingConfig
from recommender.ensemble import unified_of
from recommender.errors import TrainingError
from recommender.features.dataset import Dataset
from recommender.model import adapters
from recommender.model.adapters import Shape
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.model.values import spread_of
from recommender.split import Fold
from recommender.training.anchor import Anchor
from recommender.training.checkpoint import Checkpoints
from recommender.training.cpu import keep_memory
from recommender.training.device import deterministic, precision
from recommender.training.examples import Examples
from recommender.training.identity import fingerprint
from recommender.training.log_read import examples_before
from recommender.training.loop import fit
from recommender.training.measured_values import must_not_be_negative
from recommender.training.pretraining import objective_of
from recommender.training.selection import Mask, selected, with_replay
from recommender.training.state import Epoch, Phase
from recommender.training.trained import Trained
from recommender.training.warm_start import own_parts, start_from

WHOLE = ("popularity", "tower")
"""Parts that lie whole beside the adapters, with all else that has a row per item."""


@dataclass(frozen=True)
class Champion:
    """The model that a refresh starts from.

    Attributes:
        version: in the registry.
        model: itself.
        seen_until: moment (UTC milliseconds) from which on it learned nothing.
        encoder: name and revision of the text encoder that it was trained with; "": not known,
            and found out from its items, if they are many enough.
    """

    version: str
    model: Model
    seen_until: int
    encoder: str = ""


@dataclass(frozen=True)
class Refreshed:
    """A refreshed model.

    Attributes:
        trained: the model, its adapters merged, and how it got there.
        recent: moments since the champion's cut that it learned from.
        replayed: earlier moments that it learned from again.
        new_items: items that have an id part of their own from this refresh on.
        adapted: the module before the merge, where it has adapters.
        shape: of the adapters.
    """

    trained: Trained
    recent: int
    replayed: int
    new_items: int
    adapted: UnifiedTransformer | None
    shape: Shape

    def write_adapters(self, folder: Path, base: str) -> bool:
        """Write the adapters where there are any; return whether there are.

        Args:
            folder: to write.
            base: the version that they belong on.

        Raises:
            StorageError: the folder can't be written.
        """
        if self.adapted is None:
            return False
        adapters.write(self.adapted, folder, self.shape, base, {*WHOLE, *self.adapted.holders()})
        return True


def refresh(
    dataset: Dataset,
    fold: Fold,
    champion: Champion,
    config: Config,
    label: str = "refresh",
    on_step: Callable[[int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Refreshed:
    """Refresh the champion with everything before the fold's test window.

    The same data, champion, configuration and seed give the same weights to the byte, also if the
    process was killed in between. The checkpoints stay until `forget`.

    Args:
        dataset: log, catalogue, text vectors, of the new data version.
        fold: nothing at or after `test_start` is read.
        champion: what to start from.
        config: the whole tree.
        label: for the progress display.
        on_step: called with the number of every finished step.
        on_epoch: called with every finished epoch; what it raises ends training.

    Raises:
        TrainingError: nothing happened since, the champion is no Transformer of this shape, these
            event types and the surfaces that it reads, its text vectors are of another encoder, or
            a loss is not finite.
    """
    scorer = _goes_on(champion, config)
    if champion.encoder not in ("", dataset.encoder):
        raise TrainingError(
            f"the champion ({champion.version}) reads words by {champion.encoder}, the data set's "
            f"vectors are by {dataset.encoder}",
            "set features.text back, or train anew (`ostinato run`)",
        )
    keep_memory()
    settings = config.training
    exactly = deterministic(settings.threads, exact=settings.deterministic)
    with exactly, precision(settings.precision):
        return _refresh(dataset, fold, champion, scorer, config, label, on_step, on_epoch)


def forget(dataset: Dataset, fold: Fold, champion: Champion, config: Config) -> None:
    """Remove the checkpoints of a refresh whose model is safe elsewhere."""
    _checkpoints(dataset, fold, champion, config).clear()


def _refresh(
    dataset: Dataset,
    fold: Fold,
    champion: Champion,
    scorer: TransformerScorer,
    config: Config,
    label: str,
    on_step: Callable[[int], None] | None,
    on_epoch: Callable[[Epoch], None] | None,
) -> Refreshed:
    settings, checkpoints = config.refresh, _checkpoints(dataset, fold, champion, config)
    people = scorer.module.reads.people if config.model.user_attributes else None
    whole = examples_before(dataset, fold.test_start, config, people)
    seed = np.array([config.seed, fold.test_start])
    recent_C, again_C = with_replay(whole, champion.seen_until, settings.replay, seed)
    learned = selected(whole, recent_C | again_C) if recent_C.any() else None
    if learned is None or not len(learned.item):
        raise TrainingError(
            "nothing that could be learned happened between what the champion "
            f"({champion.version}) has seen and the new test window",
            "wait for new data; `ostinato run` trains anew whatever there is",
        )
    torch.manual_seed(config.seed)
    start = start_from(scorer, dataset, whole, same_encoder=bool(champion.encoder))
    module, shape = start.module, Shape(settings.rank, settings.alpha)
    bare = copy.deepcopy(module)
    if settings.method == "lora":
        adapters.adapt(module, shape)
        own_parts(module, _learning(settings.items, start.new_I, whole, recent_C))
    if module.action.values is not None:
        spread_G4 = spread_of(torch.from_numpy(learned.value))
        must_not_be_negative(module.action.values.values, spread_G4)
    anchor = Anchor(module, settings.anchor)
    phase = Phase("refresh", learned, None, settings.epochs, config.seed, anchor=anchor)
    epochs, curve = fit(
        phase,
        module,
        dataset.catalogue,
        _as_configured(config),
        checkpoints,
        label,
        on_step,
        on_epoch,
        objective=objective_of(learned, config),
    )
    bare.load_state_dict(adapters.merged(module))
    refreshed = TransformerScorer(bare, dataset.catalogue)
    model = Model(
        refreshed, dataset.titles, config.actions, config.model.history, service_of(refreshed)
    )
    parameters = sum(parameter.numel() for parameter in bare.parameters())
    trained = Trained(model, tuple(curve), epochs, 0, parameters, checkpoints.fingerprint)
    return Refreshed(
        trained,
        int(recent_C.sum()),
        int(again_C.sum()),
        int(start.new_I.sum()),
        module if settings.method == "lora" else None,
        shape,
    )


def _goes_on(champion: Champion, config: Config) -> TransformerScorer:
    """Return the champion's scorer, if a refresh of this configuration can go on from it."""
    anew = "train anew (`ostinato run`)"
    scorer = unified_of(champion.model.scorer)
    if not isinstance(scorer, TransformerScorer):
        raise TrainingError(f"the champion ({champion.version}) is no Transformer", anew)
    types = champion.model.actions.types
    if types != config.actions.types:
        raise TrainingError(
            f"the champion ({champion.version}) knows the event types {', '.join(types)}; "
            f"configured are {', '.join(config.actions.types)}",
            f"a refresh can't change them: {anew}",
        )
    surfaces = champion.model.actions.surfaces
    if config.model.surface and surfaces != config.actions.surfaces:
        raise TrainingError(
            f"the champion ({champion.version}) tells the surfaces {', '.join(surfaces) or 'none'} "
            f"apart; configured are {', '.join(config.actions.surfaces) or 'none'}",
            f"a refresh can't change them: set actions.surfaces back, or {anew}",
        )
    had, wanted = (each.model_dump() for each in (scorer.module.config, config.model))
    if other := sorted(key for key in wanted if had[key] != wanted[key]):
        raise TrainingError(
            f"the champion ({champion.version}) was trained with other settings: "
            + ", ".join(f"model.{key} {had[key]}, not {wanted[key]}" for key in other),
            f"a refresh can't change them: set them back, or {anew}",
        )
    return scorer


def _learning(items: str, new_I: Mask, whole: Examples, recent_C: Mask) -> Mask:
    """Return the items whose own parts learn, (I,)."""
    if items == "all":
        return np.ones_like(new_I)
    if items == "new":
        return new_I
    touched_I = np.zeros_like(new_I)
    touched_I[whole.item[np.repeat(recent_C, np.diff(whole.item_offsets))]] = True
    return new_I | touched_I


def _as_configured(config: Config) -> TrainingConfig:
    """Return the settings of the loop: of the training, but for those that a refresh has."""
    settings = config.refresh
    return config.training.model_copy(
        update={
            "epochs": settings.epochs,
            "learning_rate": settings.learning_rate,
            "warmup_steps": settings.warmup_steps,
            "weight_decay": 0.0,
            "ema": None,
        }
    )


def _checkpoints(dataset: Dataset, fold: Fold, champion: Champion, config: Config) -> Checkpoints:
    told = {
        "training": fingerprint(dataset, fold, config),
        "refresh": config.refresh.model_dump(mode="json"),
        "from": [champion.version, champion.seen_until],
    }
    name = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return Checkpoints(config.paths.checkpoints / name, name)
