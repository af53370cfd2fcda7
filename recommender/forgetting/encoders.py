"""Text encoders that saw somebody who was forgotten since: nothing is made with them any more.

What a tuned encoder learned of a person is in every text vector that it makes, and so in every
model that reads those. As a marked model does, it goes on serving where it serves; no data set is
built with it and no encoder is tuned from it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from recommender.config import Config
from recommender.config.text import PinnedCheckpoint
from recommender.errors import FeatureError, StorageError
from recommender.forgetting import canonical
from recommender.forgetting.suppression import Suppressions
from recommender.registry import Registry
from recommender.registry.encoders import EncoderLineage, encoder_version

ADAPTER = "adapter"
"""Folder within that of a tuned encoder: what was learned, as the library `peft` writes it."""

logger = logging.getLogger(__name__)


def refuse_marked(config: Config) -> None:
    """Refuse configured encoders that saw somebody who was forgotten, as far as can be known.

    Known are the marks of the registry; that the data version which an encoder was tuned on has
    been replaced, since somebody in it was forgotten; and that of a tuned encoder without lineage
    nobody knows whom it saw.

    Args:
        config: the whole tree.

    Raises:
        FeatureError: one of them did, or may have.
        ArtifactError: the lineage of one is damaged.
        StorageError: the workspace can't be read.
    """
    for encoder in _configured(config):
        if encoder.is_folder and (why := _why_not(config, encoder)):
            raise FeatureError(f"the text encoder {encoder.encoder} {why}", _remedy(encoder))


def marked(config: Config) -> tuple[str, ...]:
    """Return the configured encoders that bear the mark of somebody who was forgotten.

    Raises:
        StorageError: the registry can't be read.
    """
    known = Registry.configured(config).encoders
    return tuple(
        encoder.encoder
        for encoder in _configured(config)
        if encoder.is_folder and encoder.revision and known.marks(encoder_version(encoder.revision))
    )


def _configured(config: Config) -> Iterator[PinnedCheckpoint]:
    text, neural = config.features.text, config.evaluation.neural
    yield from (text, *text.also)
    for rival in (neural.frozen_text, neural.behaviour_gpt, neural.behaviour_bert):
        if rival is not None:
            yield rival


def _why_not(config: Config, encoder: PinnedCheckpoint) -> str:
    """Return what is wrong with an encoder; "" where nothing is known of it."""
    folder = Path(encoder.encoder)
    lineage = EncoderLineage.of_folder(folder)
    if lineage is None:
        if (folder / ADAPTER).is_dir() and len(Suppressions(config.paths)):
            return "says nothing of the data it was tuned on, and people were forgotten here"
        return ""
    replaced = canonical.replaced(config.paths.data)
    gone = [name for name in lineage.data_versions if name in replaced]
    if gone:
        return f"was tuned on {gone[0]}, in which people are who were forgotten since"
    version = encoder_version(encoder.revision or "")
    try:
        count = len(Registry.configured(config).encoders.marks(version))
    except StorageError as error:
        # A step that builds features may have no right to the registry.
        logger.warning("whether %s saw somebody forgotten can't be asked: %s", version, error)
        return ""
    return f"({version}) saw {count} people who were forgotten since" if count else ""


def _remedy(encoder: PinnedCheckpoint) -> str:
    lineage = EncoderLineage.of_folder(Path(encoder.encoder))
    base = f", {lineage.base}," if lineage else ""
    return (
        f"set features.text back to the encoder{base} that it was tuned from, and tune that again: "
        "python -m recommender.training.text_encoder CONFIG FOLDER"
    )
