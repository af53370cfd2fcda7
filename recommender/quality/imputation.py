"""Missing values, dealt with by stated policy; nothing that is fitted reads the future.

`horizon` is the earliest test cut (UTC milliseconds). Medians, modes and the price model are
fitted on what was known strictly before it; interpolated times never lean on an event from the
other side of it; "previous" looks only at the same user's past. So an event that happens after
the cut changes no value before it. Where nothing was known before the cut, values stay missing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recommender.config.imputation import EventImputation, ItemImputation, Policy
from recommender.quality import prices, times
from recommender.quality.columns import Bools, codes, milliseconds, missing, replace


@dataclass(frozen=True)
class Imputed:
    """What was done about the missing values of one column.

    Attributes:
        table, column: where.
        policy: what the configuration says.
        missing: how many values were missing.
        filled: how many of them got a value.
        dropped: how many rows went because of it.
        how: what was filled in and what it was fitted on, for people.
    """

    table: str
    column: str
    policy: str
    missing: int
    filled: int = 0
    dropped: int = 0
    how: str = ""

    @property
    def left(self) -> int:
        """How many values are still missing."""
        return self.missing - self.filled - self.dropped

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return {**asdict(self), "left": self.left}


def dropped(table: pa.Table, name: str, policies: EventImputation | ItemImputation) -> Bools:
    """Return the rows that the policy "drop" removes for one column, (rows,)."""
    policy: Policy = getattr(policies, name)
    if policy.policy != "drop":
        return np.zeros(table.num_rows, np.bool_)
    return missing(table[name])


def fill_events(
    events: pa.Table, policies: EventImputation, horizon: int | None
) -> tuple[pa.Table, tuple[Imputed, ...]]:
    """Fill in the missing values of events, time first.

    Args:
        events: canonical events, sound but for missing values; what "drop" removes is gone.
        policies: one per column.
        horizon: the earliest test cut, ms; None where the log can't be cut: nothing is fitted.

    Returns:
        The events (fewer: a time or a type that can't be filled in takes its row along) and a
        record per column that had missing values.
    """
    done: list[Imputed] = []
    if policies.time.policy == "interpolate":
        absent = int(missing(events["time"]).sum())
        events, note = times.interpolate(events, horizon)
        left = int(missing(events["time"]).sum())
        events = events.filter(pa.array(~missing(events["time"])))
        done.append(Imputed("events", "time", "interpolate", absent, absent - left, left, note))
    for name in ("event", "value", "surface", "position", "propensity"):
        policy: Policy = getattr(policies, name)
        if policy.policy == "drop":
            continue
        events, record = _fill_event(events, name, policy, horizon)
        if name == "event" and record.left:
            # Nobody can use an event without a type.
            events = events.filter(pa.array(~missing(events["event"])))
            record = dataclasses.replace(record, dropped=record.left)
        done.append(record)
    return events, tuple(record for record in done if record.missing)


def _fill_event(
    events: pa.Table, name: str, policy: Policy, horizon: int | None
) -> tuple[pa.Table, Imputed]:
    absent = missing(events[name])
    count = int(absent.sum())
    if not count or policy.policy == "keep":
        return events, Imputed("events", name, policy.policy, count, how=_kept(absent))
    known_before = ~absent
    if horizon is not None:
        known_before &= milliseconds(events["time"]) < horizon
    if policy.policy == "constant":
        column, how = _constant(events[name], policy)
    elif policy.policy == "previous":
        column, how = _previous(events, name), "the same user's last one before the event"
    elif horizon is None:
        return events, Imputed("events", name, policy.policy, count, how=_NO_CUT)
    elif name == "value":
        # A rating and a quantity have nothing in common: one figure per event type.
        column, how = _central_by_type(events, known_before, policy.policy)
    else:
        column, how = _central(events[name], known_before, policy.policy)
    filled = count - int(missing(column).sum())
    return replace(events, name, column), Imputed(
        "events", name, policy.policy, count, filled, 0, how
    )


def fill_items(
    items: pa.Table, events: pa.Table, policies: ItemImputation, horizon: int | None
) -> tuple[pa.Table, tuple[Imputed, ...]]:
    """Fill in the missing values of items.

    Medians, modes and the price model are fitted on the items known before the cut: created
    before it or, where no date is given, with an event before it.

    Args:
        items: canonical items; what "drop" removes is gone.
        events: canonical events with all times known.
        policies: one per column.
        horizon: as in `fill_events`.
    """
    done: list[Imputed] = []
    before = _known_before(items, events, horizon)
    for name in ("title", "text", "categories", "brand", "price", "created"):
        policy: Policy = getattr(policies, name)
        if policy.policy == "drop":
            continue
        absent = missing(items[name])
        count = int(absent.sum())
        column, how = items[name], _kept(absent)
        if not count or policy.policy == "keep":
            pass
        elif policy.policy == "constant":
            column, how = _constant(items[name], policy)
        elif horizon is None:
            how = _NO_CUT
        elif policy.policy == "model":
            column, how = prices.model(items, before)
        else:
            column, how = _central(items[name], before & ~absent, policy.policy)
        filled = count - int(missing(column).sum())
        if filled:
            items = replace(items, name, column)
        done.append(Imputed("items", name, policy.policy, count, filled, 0, how))
    return items, tuple(record for record in done if record.missing)


def _kept(absent: Bools) -> str:
    if absent.all():
        return "left missing: the source has no such column"
    return "left missing: the features read it as not known"


_NO_CUT = "left missing: the log can't be cut, so nothing may be fitted"
_NOTHING = "left missing: none was known before the first test cut"


def _known_before(items: pa.Table, events: pa.Table, horizon: int | None) -> Bools:
    if horizon is None:
        return np.zeros(items.num_rows, np.bool_)
    early = events.filter(pa.array(milliseconds(events["time"]) < horizon))
    seen = pc.is_in(items["item_id"], value_set=early["item_id"].combine_chunks())
    dated = ~missing(items["created"])
    created = dated & (milliseconds(items["created"]) < horizon)
    return created | (~dated & np.asarray(seen.to_numpy(), np.bool_))


def _constant(column: pa.ChunkedArray, policy: Policy) -> tuple[pa.ChunkedArray, str]:
    value: Any = policy.constant
    if pa.types.is_list(column.type):
        value = [value]
    elif pa.types.is_integer(column.type):
        value = round(value)
    return _with(column, missing(column), pa.scalar(value, column.type)), f"{policy.constant!r}"


def _with(column: pa.ChunkedArray, where: Bools, value: pa.Scalar) -> pa.ChunkedArray:
    if pa.types.is_list(column.type):  # if_else has no kernel for lists in every pyarrow
        given = zip(where, column.to_pylist(), strict=True)
        filled = [value.as_py() if here else old for here, old in given]
        return pa.chunked_array([pa.array(filled, column.type)])
    return pc.if_else(pa.array(where), value, column)


def _figure(known: pa.ChunkedArray, policy: str) -> Any:
    """Return the median or the most frequent value (the smallest of equals), None of nothing."""
    if not len(known):
        return None
    if policy == "median":
        middle = float(np.median(known.to_numpy(zero_copy_only=False)))
        return round(middle) if pa.types.is_integer(known.type) else middle
    counts = known.value_counts()
    table = pa.table({"value": counts.field("values"), "count": counts.field("counts")})
    return table.sort_by([("count", "descending"), ("value", "ascending")])["value"][0].as_py()


def _central(column: pa.ChunkedArray, fit: Bools, policy: str) -> tuple[pa.ChunkedArray, str]:
    figure = _figure(column.filter(pa.array(fit)), policy)
    if figure is None:
        return column, _NOTHING
    how = f"{policy} {_short(figure)} of {int(fit.sum()):,} values before the first test cut"
    return _with(column, missing(column), pa.scalar(figure, column.type)), how


def _central_by_type(events: pa.Table, fit: Bools, policy: str) -> tuple[pa.ChunkedArray, str]:
    column, absent = events["value"], missing(events["value"])
    kind, notes = codes(events["event"]), []
    for code in np.unique(kind[absent]):
        here = kind == code
        figure = _figure(column.filter(pa.array(fit & here)), policy)
        if figure is not None:
            column = _with(column, absent & here, pa.scalar(figure, column.type))
            name = events["event"][int(np.flatnonzero(here)[0])].as_py()
            notes.append(f"{name}: {policy} {_short(figure)} of {int((fit & here).sum()):,}")
    return column, f"{'; '.join(notes)} before the first test cut" if notes else _NOTHING


def _short(figure: Any) -> str:
    return f"{figure:.6g}" if isinstance(figure, float) else repr(figure)


def _previous(events: pa.Table, name: str) -> pa.ChunkedArray:
    """Carry the user's last known value forward; only from strictly earlier moments.

    A value is carried among events of the same type only: a rating says nothing of a quantity.
    """
    count = events.num_rows
    frame = pd.DataFrame(
        {
            "user": codes(events["user_id"]),
            "kind": codes(events["event"]) if name == "value" else np.zeros(count, np.int64),
            "time": milliseconds(events["time"]),
            "id": events["event_id"].to_pandas(),
            "row": np.where(missing(events[name]), -1, np.arange(count)),
        }
    ).sort_values(["user", "kind", "time", "id"], kind="stable")
    log = ["user", "kind"]
    # Row of the last known value up to and including each moment, then of the moment before it.
    known = frame["row"].where(frame["row"] >= 0)
    moment = known.groupby([frame[key] for key in (*log, "time")], sort=True).last()
    carried = moment.groupby(level=log).ffill().groupby(level=log).shift(1).rename("from")
    source = frame.join(carried, on=[*log, "time"])["from"].reindex(range(count)).to_numpy()
    own = np.arange(count)
    absent = missing(events[name])
    take = np.where(absent, np.nan_to_num(source, nan=-1).astype(np.int64), own)
    column = events[name].combine_chunks()
    return pa.chunked_array([column.take(pa.array(take, mask=take < 0))])
