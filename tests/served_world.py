"""Logs of served lists as a simulated world leaves them: the truth behind them is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from recommender.evaluation.long_term.journal import Journal
from recommender.evaluation.long_term.visits import DAY_MS
from recommender.served import FEEDBACK, SERVED
from recommender.tables import TIME

ORIGIN = 20_000 * DAY_MS
HOUR_MS = 3_600_000


def tables(
    journal: Journal, versions: Sequence[str], origin: int = ORIGIN
) -> tuple[pa.Table, pa.Table]:
    """Write down every list of a journal, and every click, purchase and dislike."""
    lists, places = journal.shown.shape
    number = np.arange(lists)
    moment = origin + (journal.days - journal.days.min()) * DAY_MS + 8 * HOUR_MS + number % HOUR_MS
    request = np.char.add("r", number.astype(str))
    cells = lists * places
    served = pa.table(
        {
            "request_id": np.repeat(request, places),
            "time": pa.array(np.repeat(moment, places)).cast(TIME),
            "user": np.repeat(np.char.add("u", journal.people.astype(str)), places),
            "version": np.repeat(np.array(versions)[journal.own], places),
            "lane": ["live"] * cells,
            "surface": pa.nulls(cells, pa.string()),
            "position": np.tile(np.arange(1, places + 1), lists).astype(np.int32),
            "item_id": np.char.add("i", journal.shown.ravel().astype(str)),
            "score": pa.nulls(cells, pa.float32()),
            "propensity": journal.propensities.ravel(),
            "marginal": pa.nulls(cells, pa.float64()),
            "policy": ["sampled"] * cells,
            "fallback": pa.nulls(cells, pa.string()),
            "latency_ms": np.full(cells, 3, np.float32),
        }
    ).cast(SERVED)
    told = []
    for action, happened in (
        ("click", journal.clicked),
        ("buy", journal.bought),
        ("dislike", journal.disliked),
    ):
        row, place = np.nonzero(happened)
        times = pa.array(moment[row] + 60_000).cast(TIME)
        told.append(
            pa.table(
                {
                    "event_id": np.char.add(f"{action}-", (row * places + place).astype(str)),
                    "request_id": request[row],
                    "item_id": np.char.add("i", journal.shown[row, place].astype(str)),
                    "action": [action] * len(row),
                    "time": times,
                    "value": pa.nulls(len(row), pa.float64()),
                    "received": times,
                }
            ).cast(FEEDBACK)
        )
    return served, pa.concat_tables(told)
