"""Which engine computes a served model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, cast

from recommender.config.compute import ComputeConfig
from recommender.errors import ArtifactError
from recommender.scoring import Scorer

if TYPE_CHECKING:
    from recommender.model.scorer import TransformerScorer

logger = logging.getLogger("ostinato.engine")


def engine_for(scorer: Scorer, folder: Path, config: ComputeConfig) -> Scorer:
    """Return a scorer with the same scores (within 1e-5) that is made for serving.

    Args:
        scorer: as it was loaded.
        folder: of the model; may hold ONNX files.
        config: which engine is wanted. Other models than the Transformer have only themselves.

    Raises:
        ArtifactError: ONNX is wanted and the model brings none, or a broken one.
    """
    if scorer.kind != "transformer":
        if config.engine == "onnx":
            logger.warning(
                "serving.compute.engine is onnx, and only the unified model alone can be exported: "
                "a model of the kind %s is computed as it is",
                scorer.kind,
            )
        return scorer
    from recommender.export.onnx_files import file_of
    from recommender.export.onnx_scorer import OnnxScorer
    from recommender.export.state_scorer import StateScorer

    transformer = cast("TransformerScorer", scorer)
    if transformer.reads_profiles or transformer.reads_surfaces:
        # What is kept of a history, and what was exported, knows neither who asks nor where.
        logger.info("computing by the model itself: it reads who asks, or where")
        return transformer
    brings = (folder / file_of("retrieve")).exists()
    if config.engine == "onnx" and not brings:
        raise ArtifactError(
            f"the model in {folder} brings no ONNX files",
            "train it with `serving.compute.export: true`, or set `serving.compute.engine: eager`",
        )
    if brings and config.engine != "eager":
        logger.info("computing by ONNX Runtime")
        return OnnxScorer(transformer, folder, config.states_mb)
    return StateScorer(
        transformer.module,
        transformer.catalogue,
        megabytes=config.states_mb,
        keys_values=config.keys_values,
    )
