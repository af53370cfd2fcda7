"""Lists for everybody at once, streamed in blocks: memory doesn't grow with the users.

The same ranking as the endpoint's and the evaluation's (`ranking.py`), from the same histories.

Shape letters: B histories of a block, K items recommended.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from recommender.artifact import Model
from recommender.errors import EvaluationError
from recommender.features.sequences import EventLog
from recommender.progress import Progress
from recommender.ranking import rank

_BYTES_PER_SCORE = 24
SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_ids", pa.list_(pa.string()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),
        pa.field("history", pa.int32(), nullable=False),
    ]
)


def recommend_all(
    model: Model,
    log: EventLog,
    as_of: int,
    k: int,
    *,
    history_limit: int,
    block_bytes: int = 128 * 2**20,
) -> Iterator[pa.RecordBatch]:
    """Yield a list for every user of a log, in the log's order.

    Args:
        model: any trained recommender.
        log: all events; items are rows of the model's catalogue.
        as_of: moment of asking, UTC milliseconds; histories hold what lies strictly before it.
        k: length of the lists; shorter where little is left to recommend.
        history_limit: most recent events of a history, as the online store keeps them.
        block_bytes: memory for one block of scores.

    Raises:
        EvaluationError: the log names items beyond the model's catalogue.
    """
    ids = pa.array(model.scorer.catalogue.ids, pa.string())
    if len(log) and int(log.items.max()) >= len(ids):
        raise EvaluationError(
            f"the log names item row {int(log.items.max())}, the model ranks {len(ids)} items",
            "build the log with the model's catalogue",
        )
    known = log.of_types(model.actions.histories, model.actions)
    block = max(1, block_bytes // (len(ids) * _BYTES_PER_SCORE))
    progress = Progress("recommend to everybody", len(log.users))
    for start in range(0, len(log.users), block):
        users = np.arange(start, min(start + block, len(log.users)))
        histories = known.histories(users, np.full(len(users), as_of), history_limit)
        ranked = rank(
            model.ranker,
            histories,
            k,
            reads=model.history,
            exclude_seen=model.actions.exclude_seen,
        )
        kept_BK = ranked.scores > -np.inf
        offsets = np.concatenate([[0], np.cumsum(kept_BK.sum(axis=1))]).astype(np.int32)
        yield pa.RecordBatch.from_arrays(
            [
                pa.array([log.users[user] for user in users], pa.string()),
                pa.ListArray.from_arrays(offsets, ids.take(pa.array(ranked.items[kept_BK]))),
                pa.ListArray.from_arrays(offsets, pa.array(ranked.scores[kept_BK], pa.float32())),
                pa.array(histories.lengths.astype(np.int32)),
            ],
            schema=SCHEMA,
        )
        progress.advance(len(users))
