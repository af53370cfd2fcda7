"""What makes two training runs the same run: data, settings, seed and code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

import recommender
from recommender.config import Config
from recommender.features.dataset import Dataset
from recommender.split import Fold
from recommender.training.transfer import identity

_ROOT = Path(str(recommender.__file__)).parent

# Code whose change may change the weights. A checkpoint of other code is not gone on from.
_CODE = (
    "config",
    "evaluation/metrics/classification.py",
    "evaluation/metrics/rating.py",
    "features/cases.py",
    "features/catalogue.py",
    "features/dataset.py",
    "features/decomposition.py",
    "features/demand.py",
    "features/event_codes.py",
    "features/event_order.py",
    "features/forecasters.py",
    "features/histories.py",
    "features/people.py",
    "features/sequences.py",
    "features/shares.py",
    "features/smoothing.py",
    "features/trends.py",
    "model",
    "scoring.py",
    "split.py",
    "training",
)

# Settings of training that the weights don't follow from: what the model is fused with afterwards,
# and how a training that is cut off, or whose loss isn't finite, comes back.
_NO_SAY = ("ensemble", "checkpoint_every_steps", "recoveries")


def fingerprint(dataset: Dataset, fold: Fold, config: Config) -> str:
    """Return the name of a training run, 16 hex digits.

    Two runs with the same fingerprint give the same weights on the same kind of machine.
    """
    digest = hashlib.sha256(_settings(fold, config))
    log = dataset.log
    for array in (log.offsets, log.items, log.actions, log.times, log.values, dataset.text):
        digest.update(np.ascontiguousarray(array).tobytes())
    if log.exposures is not None:
        digest.update(log.exposures.positions.tobytes())
    digest.update("\n".join(dataset.catalogue.ids).encode())
    model = config.model
    if model.attribute_width:
        told = dataset.items.select(["categories", "brand", "price"]).to_pylist()
        digest.update(json.dumps(told).encode())
    for name in (*(["numbers"] if model.numbers else ()), *(["vectors"] if model.vectors else ())):
        if name in dataset.items.column_names:
            digest.update(json.dumps(dataset.items[name].to_pylist()).encode())
    if model.surface and log.surfaces is not None:
        digest.update(log.surfaces.tobytes())
    if model.user_attributes and dataset.attributes is not None:
        digest.update(json.dumps(dataset.attributes.to_pydict()).encode())
    if model.demand:
        trends = config.features.trends.model_dump(mode="json")
        created = dataset.items["created"].cast("int64").to_pylist()
        digest.update(json.dumps([dataset.items["categories"].to_pylist(), created]).encode())
        digest.update(json.dumps(trends, sort_keys=True).encode())
    digest.update(code_version().encode())
    return digest.hexdigest()[:16]


def settings_digest(fold: Fold, config: Config) -> bytes:
    """Return a hash of the settings that training depends on."""
    return hashlib.sha256(_settings(fold, config)).digest()


def _settings(fold: Fold, config: Config) -> bytes:
    settings = {
        "fold": fold.to_dict(),
        "seed": config.seed,
        "actions": config.actions.model_dump(mode="json"),
        "model": config.model.model_dump(mode="json"),
        "training": config.training.model_dump(mode="json", exclude=set(_NO_SAY)),
        "self_supervision": config.self_supervision.model_dump(mode="json"),
        "transfer": identity(config),
        "history_limit": config.features.history_limit,
        "requests_per_user": config.evaluation.requests_per_user,
    }
    return json.dumps(settings, sort_keys=True).encode()


def code_version() -> str:
    """Return a hash of the source files that training depends on."""
    digest = hashlib.sha256()
    for file in code_files():
        digest.update(f"{file.relative_to(_ROOT)}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def code_files() -> list[Path]:
    """Return the source files whose change may change the weights."""
    paths = [_ROOT / name for name in _CODE]
    return [file for path in paths for file in (sorted(path.rglob("*.py")) or [path])]
