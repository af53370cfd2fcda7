"""A module that has learned nothing yet of what it is to learn from."""

from __future__ import annotations

import torch
from torch import Tensor

from recommender.config import Config
from recommender.features.dataset import Dataset
from recommender.model.id_buckets import id_buckets
from recommender.model.people import PeopleCodes
from recommender.model.reads import Reads, item_columns
from recommender.model.transformer import UnifiedTransformer
from recommender.model.values import spread_of
from recommender.training.examples import Examples
from recommender.training.measured_values import must_be_learnable
from recommender.training.transfer import Source


def fresh_module(
    dataset: Dataset,
    examples: Examples,
    config: Config,
    people: PeopleCodes | None = None,
    spread_G4: Tensor | None = None,
) -> UnifiedTransformer:
    """Return a module for these examples that has learned nothing of them.

    The seed decides its weights, but for those of a model that it is to start from.

    Args:
        dataset: whose items.
        examples: what is known of them.
        config: the whole tree.
        people: what is read of whoever it is.
        spread_G4: how the values lie that it is to foretell, where `examples` are a part only
            (`recommender.model.values.spread_of`).

    Raises:
        ConfigError: it is to foretell a value that no event carries.
        TrainingError: it can't start from that model, or a value's loss does not fit it.
    """
    model, source = config.model, None
    if config.transfer.model:
        source = Source.read(config, dataset.encoder)
    read_IV, attributes, vectors = item_columns(
        dataset.items, dataset.text, examples.known, model, source.columns if source else None
    )
    surfaces = len(config.actions.surfaces) if model.surface else 0
    buckets = id_buckets(dataset.catalogue.ids, model.id_buckets) if model.id_buckets else None
    torch.manual_seed(config.seed)
    module = UnifiedTransformer(
        model,
        len(config.actions.types),
        torch.from_numpy(read_IV),
        torch.from_numpy(examples.known),
        torch.from_numpy(examples.latest),
        repeats=model.repeats and not config.actions.exclude_seen,
        reads=Reads(surfaces, people or PeopleCodes(), attributes, vectors),
        buckets_I2=None if buckets is None else torch.from_numpy(buckets),
    )
    if source is not None:
        source.into(module, config.actions)
    head = module.action.values
    if head is not None:
        spread_G4 = spread_of(torch.from_numpy(examples.value)) if spread_G4 is None else spread_G4
        must_be_learnable(head.values, spread_G4)
        head.told_of(config.actions.types, spread_G4)
    return module
