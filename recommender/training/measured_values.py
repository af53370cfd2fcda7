"""Whether the values that a model is to foretell can be learned from the data.

Shape letters: G values.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recommender.config.ranking import ValueConfig
from recommender.errors import ConfigError, TrainingError


def must_be_learnable(values: Sequence[ValueConfig], spread_G4: Tensor) -> None:
    """Refuse values that nothing can be learned of, whose forecasts would be made up.

    Args:
        values: that are to be foretold, G of them.
        spread_G4: of all that is learned from, as `recommender.model.values.spread_of` tells it.

    Raises:
        ConfigError: no event carries a value.
        TrainingError: a value's loss does not fit it.
    """
    for value, count in zip(values, spread_G4[:, 0].tolist(), strict=True):
        if not count:
            raise ConfigError(
                f"model.ranking.values names {value.name}, which no event of the types "
                f"{', '.join(value.events)} carries before the cut that is trained to",
                "map it in source.events.columns.value and run from ingest again, or take it out "
                "of model.ranking.values",
            )
    must_not_be_negative(values, spread_G4)


def must_not_be_negative(values: Sequence[ValueConfig], spread_G4: Tensor) -> None:
    """Refuse negative values where a gamma distribution is to tell them: it has none.

    Arguments as in `must_be_learnable`.

    Raises:
        TrainingError: there are negative ones.
    """
    for value, (count, *_, negative) in zip(values, spread_G4.tolist(), strict=True):
        if value.loss == "gamma" and negative:
            raise TrainingError(
                f"model.ranking.values: {value.name} is learned by a gamma distribution, which has "
                f"no negative values, and {negative:.0f} of {count:.0f} are negative",
                f"set `loss: squared` for {value.name}, or take these events (returns, "
                "corrections) out of the data",
            )
