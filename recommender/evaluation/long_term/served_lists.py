"""Which list was served to whom by which version when, and what came of it.

Shape letters: N lists, U people, V versions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recommender.config import Config
from recommender.config.actions import ActionsConfig
from recommender.evaluation.long_term.visits import DAY_MS
from recommender.served import joined
from recommender.served_store import store_of

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
LIVE = "live"
DAYS = 182
"""Days of served lists that are looked at; the log of half a year is held in memory."""


@dataclass(frozen=True)
class Shown:
    """Served lists whose outcome is known, by time.

    Attributes:
        versions: names, in the order in which they first served, (V,).
        people: how many, U.
        person: the row of who asked; -1 for an anonymous visit, (N,).
        version: the row of who answered, (N,).
        times: of the lists, UTC milliseconds, rising, (N,).
        success: whether a success came of a list, (N,).
        negative: whether negative feedback did, (N,).
        fallback: whether it was answered without a history, (N,).
        set_aside: lists that are not among these, by reason.
    """

    versions: tuple[str, ...]
    people: int
    person: Ints
    version: Ints
    times: Ints
    success: Bools
    negative: Bools
    fallback: Bools
    set_aside: dict[str, int]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def days(self) -> Ints:
        """The UTC day of each list, counted from 1970, (N,)."""
        return self.times // DAY_MS


def read_shown(config: Config, now_ms: int) -> Shown | None:
    """Read the logs of served lists and feedback that a configuration names.

    Args:
        config: where they lie, how long an outcome is waited for, what is a success.
        now_ms: lists of the `DAYS` days before are read, UTC milliseconds.

    Returns:
        None where nothing was served to anybody.

    Raises:
        StorageError: the logs can't be read.
    """
    store = store_of(config.serving.log, config.paths)
    since = now_ms - DAYS * DAY_MS
    served = store.read("served", since)
    if not len(served):
        return None
    attribution_ms = int(config.serving.feedback.attribution_s * 1000)
    return shown(served, store.read("feedback", since), config.actions, attribution_ms)


def shown(
    served: pa.Table, feedback: pa.Table, actions: ActionsConfig, attribution_ms: int
) -> Shown | None:
    """Join lists with what came of them.

    A list later than the last feedback, less the time that an outcome is waited for, is set aside:
    counted as it stands it would make the version that served last look bad.

    Args:
        served: as `recommender.served.SERVED`.
        feedback: as `recommender.served.FEEDBACK`.
        actions: which of them are a success, and which are negative.
        attribution_ms: longest time from a list to what is put down to it.

    Returns:
        None where no live list is known to its end.
    """
    live = served.filter(pc.equal(served["lane"], LIVE))
    if not len(live) or not len(feedback):
        return None
    told_until = max(_last(feedback["received"]), _last(feedback["time"]))
    rows = joined(live, feedback, attribution_ms, successes=actions.successes)
    codes, first, list_R = _grouped(rows["request_id"])
    lists = rows.select(["user", "version", "fallback", "time"]).take(pa.array(first))
    times_N = lists["time"].cast(pa.int64()).to_numpy()
    success_N = _any(rows["rewarded"].to_numpy(), list_R, codes)
    negative_N = _any(_holds(rows["actions"], actions.negative), list_R, codes)
    kept = np.flatnonzero(times_N + attribution_ms <= told_until)
    kept = kept[np.argsort(times_N[kept], kind="stable")]
    if not len(kept):
        return None
    lists = lists.take(pa.array(kept))
    users, person_N = np.unique(lists["user"].to_numpy().astype(str), return_inverse=True)
    anonymous = int(users[0] == "")
    names, begun, version_N = np.unique(
        lists["version"].to_numpy().astype(str), return_index=True, return_inverse=True
    )
    order = np.argsort(begun)
    set_aside = {
        "not over: what came of them may still be told": codes - len(kept),
        "outside the live lane": len(pc.unique(served["request_id"])) - codes,
        "anonymous: in daily figures only": int((person_N == 0).sum()) if anonymous else 0,
    }
    return Shown(
        versions=tuple(names[order].tolist()),
        people=len(users) - anonymous,
        person=person_N.astype(np.int64) - anonymous,
        version=np.argsort(order)[version_N],
        times=times_N[kept],
        success=success_N[kept],
        negative=negative_N[kept],
        fallback=lists["fallback"].is_valid().to_numpy(),
        set_aside={reason: count for reason, count in set_aside.items() if count},
    )


def _grouped(ids: pa.ChunkedArray) -> tuple[int, Ints, Ints]:
    """Return how many different ids there are, the first row of each, and each row's number."""
    codes = ids.combine_chunks().dictionary_encode().indices.to_numpy()
    _, first, number = np.unique(codes, return_index=True, return_inverse=True)
    return len(first), first, number


def _any(values_R: Bools, list_R: Ints, lists: int) -> Bools:
    return np.bincount(list_R, values_R, minlength=lists) > 0


def _holds(actions: pa.ChunkedArray, wanted: tuple[str, ...]) -> Bools:
    """Return which rows hold one of some actions."""
    held = np.zeros(len(actions), bool)
    hit = pc.is_in(pc.list_flatten(actions), value_set=pa.array(wanted, pa.string()))
    held[pc.list_parent_indices(actions).to_numpy()[hit.to_numpy()]] = True
    return held


def _last(times: pa.ChunkedArray) -> int:
    return int(pc.max(times.cast(pa.int64())).as_py())
