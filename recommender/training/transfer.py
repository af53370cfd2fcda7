"""A fresh module that begins with what was learned on another catalogue.

The two catalogues have words in common and no items. So the map from words to item vectors, the
body, the heads and what an event type of the same name means are taken along; whatever belongs to
an item (its id part, its popularity) begins anew, and so does what rows of a table mean where the
two number other things: surfaces, values of people's attributes, numbers that are foretold.

Shape letters: I items of the data set, J items of the model's own, V whitened text components,
W width of the encoder.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recommender.artifact import Model
from recommender.config import Config
from recommender.config.actions import ActionsConfig
from recommender.ensemble import unified_of
from recommender.errors import ConfigError, StorageError, TrainingError
from recommender.features.dataset import Dataset
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.model.whitening_found import OtherTextError, Whitening
from recommender.registry.content import digests, version_of

Floats = NDArray[np.float32]
logger = logging.getLogger(__name__)

_OF_ITEMS = frozenset(
    {
        "tower.id_ID",
        "tower.text_IV",
        "tower.known_I",
        "tower.buckets_I2",
        "popularity.popularity_IF",
        "popularity.known_I",
        "popularity.rest_I",
        "action.target.own_ID",
    }
)
_SURFACES = ("inputs.action.surface.", "request.surface.")
_PEOPLE = "inputs.person."
_VALUES = "action.values."
_EVENT_TYPES = "inputs.action.weight"
_MUST_FIT = ("blocks.", "tower.projection_DV")


class Source:
    """The model that is started from, and how it reads words.

    Args:
        model: trained.
        whitening: from the encoder's vectors to the model's.
    """

    def __init__(self, model: Model, whitening: Whitening) -> None:
        scorer = _unified(model)
        self.model = model
        self.scorer = scorer
        self.whitening = whitening

    @classmethod
    def read(cls, config: Config, encoder: str) -> Source:
        """Read what `config.transfer` names.

        Args:
            config: the whole tree.
            encoder: of the data set that is trained on.

        Raises:
            ArtifactError: the model can't be read.
            StorageError: its data set can't be read.
            TrainingError: it is no Transformer, the two don't belong together, or it saw somebody
                who was forgotten.
            ConfigError: it reads more of items than their words, or another encoder's.
        """
        model = Model.load(Path(config.transfer.model))
        data = Dataset.read(Path(config.transfer.dataset))
        _saw_nobody_forgotten(config, data)
        return cls.of(model, data, encoder)

    @classmethod
    def of(cls, model: Model, dataset: Dataset, encoder: str) -> Source:
        """Put a model and the data set that it was trained on together; raises as `read`."""
        if dataset.encoder != encoder:
            raise ConfigError(
                f"the model to start from reads words by {dataset.encoder}, this data set's are "
                f"by {encoder}",
                "set features.text to the same encoder for both",
            )
        scorer = _unified(model)
        reads = scorer.module.reads
        if reads.items is not None or reads.vectors:
            raise ConfigError(
                "the model to start from reads attributes or further vectors of its own catalogue",
                "transfer is by words: train it with attribute_width 0, and no numbers or vectors",
            )
        index = dataset.catalogue.index
        rows = [index.get(item, -1) for item in scorer.catalogue.ids]
        had_JV = scorer.module.tower.text_IV.numpy()
        both = np.array([row >= 0 for row in rows])
        try:
            text_KW = dataset.text[np.array(rows)[both]]
            return cls(model, Whitening.between(text_KW, had_JV[both]))
        except OtherTextError as error:
            raise TrainingError(
                f"the model to start from was not trained on the data set beside it: {error}",
                "name the data set of its own run in transfer.dataset",
            ) from None

    def columns(self, text_IW: Floats) -> Floats:
        """Return text vectors as the model reads them, (I, V)."""
        return self.whitening(text_IW)

    def into(self, module: UnifiedTransformer, actions: ActionsConfig) -> None:
        """Copy what is not an item's into a fresh module, in place.

        Args:
            module: whose tower reads `columns`.
            actions: its event types and surfaces.

        Raises:
            TrainingError: the two are of different shapes.
        """
        theirs, ours = self.scorer.module.state_dict(), module.state_dict()
        had, types = self.model.actions.types, actions.types
        others = self._others(module, actions)
        for name, value in ours.items():
            if name in _OF_ITEMS or name.startswith(others) or name not in theirs:
                continue
            if name == _EVENT_TYPES:
                _copy_rows(theirs[name], had, value, types)
            elif theirs[name].shape == value.shape and (
                types == had or not name.startswith("action.")
            ):
                value.copy_(theirs[name])
            elif name.startswith(_MUST_FIT):
                raise TrainingError(
                    f"{name} is {tuple(theirs[name].shape)} in the model to start from, "
                    f"{tuple(value.shape)} here",
                    "train both with the same `model` settings",
                )

    def _others(self, module: UnifiedTransformer, actions: ActionsConfig) -> tuple[str, ...]:
        """Return how the names begin of tables whose rows mean something else in a module."""
        mine = self.scorer.module
        same = {
            _SURFACES: self.model.actions.surfaces == actions.surfaces,
            (_PEOPLE,): mine.reads.people == module.reads.people,
            (_VALUES,): mine.config.ranking.values == module.config.ranking.values,
        }
        return tuple(name for names, kept in same.items() if not kept for name in names)


def identity(config: Config) -> str:
    """Return what tells the model that is started from apart from others; "" where there is none.

    Raises:
        ArtifactError: there is no model where the configuration says.
    """
    return version_of(digests(Path(config.transfer.model))) if config.transfer.model else ""


def _unified(model: Model) -> TransformerScorer:
    """Return the Transformer that is started from: the model itself, or an ensemble's member."""
    scorer = unified_of(model.scorer)
    if not isinstance(scorer, TransformerScorer):
        raise TrainingError(
            f"the model to start from is of the kind {scorer.kind}, and learned nothing that could "
            "be transferred",
            "name a version in transfer.model that is the unified model, or an ensemble with it",
        )
    return scorer


def _saw_nobody_forgotten(config: Config, dataset: Dataset) -> None:
    """Refuse a model that saw somebody who was forgotten, as far as can be known from here.

    Known are the people whom this workspace keeps out, by their pseudonyms in the data set beside
    the model, and the marks of the registry, if the model is a version of it.
    """
    from recommender.forgetting.suppression import Suppressions
    from recommender.registry import Registry

    remedy = "start from a model that was trained without them, or from none"
    kept_out = Suppressions(config.paths)
    gone = sum(map(kept_out.holds, dataset.log.users)) if len(kept_out) else 0
    if gone:
        raise TrainingError(
            f"the data set of the model to start from holds {gone} people who were forgotten since",
            remedy,
        )
    registry, version = Registry.configured(config), identity(config)
    try:
        marks = registry.retrain_marks(version) if registry.has(version) else ()
    except StorageError as error:
        # A step that trains may have no right to the registry.
        logger.warning("whether %s saw somebody forgotten can't be asked: %s", version, error)
        return
    if marks:
        raise TrainingError(
            f"the model to start from ({version}) saw {len(marks)} people who were forgotten since",
            remedy,
        )


def _copy_rows(
    source: Tensor, had: tuple[str, ...], target: Tensor, types: tuple[str, ...]
) -> None:
    """Copy the rows of event types that both know, by name; row 0 is padding."""
    if source.shape[1:] != target.shape[1:]:
        return
    with torch.no_grad():
        target[0] = source[0]
        for place, name in enumerate(types):
            if name in had:
                target[place + 1] = source[had.index(name) + 1]
