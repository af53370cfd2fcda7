"""What every step that trains does before and after: look at its data's age, leave ONNX files."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from recommender.artifact import Model
from recommender.config import Config
from recommender.features.freshness import must_be_fresh, read_of_dataset

logger = logging.getLogger("ostinato.export")

TRAINED_ON = ("user_sequence", "item_text")
"""Views whose content is in a training data set."""


def must_be_of_today(dataset: Path, config: Config) -> None:
    """Refuse a data set that is too old: a retry days later, or a source that has stopped.

    Args:
        dataset: its folder.
        config: says how old features may be.

    Raises:
        FeatureError: it is older than that.
    """
    must_be_fresh(
        read_of_dataset(dataset),
        TRAINED_ON,
        config.features.freshness,
        round(time.time() * 1000),
        what=f"the features that {config.name} is to be trained on",
        remedy="run the pipeline again, from ingest; if the data is no newer by then, see why the "
        "source has stopped, or raise the limit",
    )


def export(model: Model, folder: Path) -> None:
    """Leave ONNX files beside the weights, before anybody signs the folder.

    A model that reads who asks, or where, gets none: what is exported reads neither. Nor does an
    ensemble, whose members are computed as they are. The log says so.

    Args:
        model: which was saved there.
        folder: of it.
    """
    from recommender.export import onnx_files
    from recommender.model.scorer import TransformerScorer

    if model.reads_profiles or model.reads_surfaces:
        why = "it reads who asks, or where"
    elif isinstance(model.scorer, TransformerScorer):
        onnx_files.write(model.scorer.module, folder)
        return
    else:
        why = (
            f"only the unified model alone is exported, and this is of the kind {model.scorer.kind}"
        )
    logger.warning("serving.compute.export is set, and the model gets no ONNX files: %s", why)
