"""Which pipeline answers causes: as the configuration says for each kind."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.triggers.cause import Kind
from recommender.config.triggers import TriggersConfig

TRAINING, REFRESH = "training", "refresh"
"""Names of `pipelines.compile.PIPELINES`."""

MAY_REFUSE = frozenset({"champion", "refresh"})
"""The steps that a refresh alone has. Where one of them fails, a training can do what the refresh
can't; where another one fails, a training would, too."""


def pipeline_for(kinds: Iterable[Kind], config: TriggersConfig) -> str:
    """Return the pipeline of a run: a training, unless a refresh is enough for all of its causes.

    Args:
        kinds: of the causes.
        config: says what each kind leads to.
    """
    said = {
        Kind.LANDED: config.landed.run,
        Kind.DRIFT: config.drift.run,
        Kind.DECAY: config.quality.run,
        Kind.ASKED: config.asked.run,
    }
    return REFRESH if {said[kind] for kind in kinds} == {"refresh"} else TRAINING
