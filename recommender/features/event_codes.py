"""Event types as the codes of tensors, and what is said of events that can't be encoded.

Shape letter: E events.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config.actions import ActionsConfig
from recommender.errors import FeatureError
from recommender.features.event_order import Ints, dictionary


def type_codes(names: pa.ChunkedArray, actions: ActionsConfig) -> NDArray[np.int8]:
    """Return the code of each event type, (E,); 0 for an unknown or missing one."""
    codes, distinct = dictionary(names)
    known = {name: actions.code(name) for name in actions.types}
    # One more at the end, for the code −1 of a missing type.
    return np.array([*(known.get(name, 0) for name in distinct.to_pylist()), 0], np.int8)[codes]


def surface_codes(names: pa.ChunkedArray, actions: ActionsConfig) -> NDArray[np.int8]:
    """Return the code of each event's surface, (E,); 0 where it has none or an unnamed one."""
    codes, distinct = dictionary(names)
    known = [actions.surface_code(name) for name in distinct.to_pylist()]
    # One more at the end, for the code −1 of a missing surface.
    return np.array([*known, 0], np.int8)[codes]


def require_known(
    known_E: NDArray[np.bool_], names: pa.ChunkedArray, rows: Ints, what: str, hint: str
) -> None:
    """Make sure that every event is of something known.

    Args:
        known_E: whether each event is.
        names: of what the events are, for an example.
        rows: the events in the order of the log, whose first unknown one is the example.
        what: is wrong with the others.
        hint: what to do about it.

    Raises:
        FeatureError: some are not; says how many.
    """
    if not known_E.all():
        wrong = rows[~known_E[rows]]
        raise FeatureError(
            f"{len(wrong)} events {what}, e.g. {names[int(wrong[0])].as_py()!r}", hint
        )
