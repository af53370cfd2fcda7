"""Rows ready for a store, and the rule by which they get in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from feature_repo.stores.online_store import Merge, Row, replace
from feature_repo.stores.stamps import Stamp, microseconds, moment, now_us
from feature_repo.wire import KINDS, decode_value, encode_value
from recommender.errors import FeatureError

EVENT, CREATED = "event_timestamp", "created"


@dataclass(frozen=True)
class Rows:
    """Some rows of one view, encoded; the lists are parallel and ids differ.

    Attributes:
        ids: values of the join key.
        keys: Feast's entity keys.
        values: by feature, the messages.
        stamps: their age; the base of each is its own `created`.
        older: rows left out, because a newer one of the same id is here.
    """

    ids: list[str]
    keys: list[bytes]
    values: dict[str, list[bytes]]
    stamps: list[Stamp]
    older: int

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, index: int) -> Row:
        """Return one row as functions that change rows see it."""
        held = {name: messages[index] for name, messages in self.values.items()}
        return decoded(held, self.stamps[index])


def decoded(values: Mapping[str, bytes], stamp: Stamp) -> Row:
    """Return the row of stored messages, with `event_timestamp` and `created`."""
    row: Row = {name: decode_value(message) for name, message in values.items()}
    return {**row, EVENT: moment(stamp.event), CREATED: moment(stamp.created)}


@dataclass(frozen=True)
class Verdict:
    """What is to be done with some rows, by their index.

    Attributes:
        put: written as they are.
        merged: to be merged with what is stored.
        stale: how many are left out.
    """

    put: list[int]
    merged: list[int]
    stale: int


def judge(stamps: Sequence[Stamp], stored: Sequence[Stamp | None], merge: Merge | None) -> Verdict:
    """Decide which snapshot rows get in; see `OnlineStore.write`.

    Args:
        stamps: of the snapshot rows.
        stored: of what the store holds of the same entities.
        merge: as given to `write`.
    """
    put: list[int] = []
    merged: list[int] = []
    if merge is replace:
        return Verdict(list(range(len(stamps))), merged, 0)
    for index, (new, old) in enumerate(zip(stamps, stored, strict=True)):
        if old is None:
            put.append(index)
        elif merge is None:
            if new[:2] >= old[:2]:
                put.append(index)
        elif old != new and (old.base, old.event) >= (new.created, new.event):
            # It stands on a later snapshot, or on this very one.
            continue
        elif old != new and (old.event > new.event or old.created >= new.created):
            merged.append(index)
        else:
            put.append(index)
    return Verdict(put, merged, len(stamps) - len(put) - len(merged))


def made_now(row: Row) -> Row:
    """Return a merged row without the `created` of either, so that it is taken as made now.

    Two rows of equal age are taken as the same one, which a merged row and its snapshot aren't.
    """
    return {name: value for name, value in row.items() if name != CREATED}


def prepared(
    view: str, each: str, row: Row, kinds: Mapping[str, str], base: int
) -> tuple[dict[str, bytes], Stamp]:
    """Return the messages and the age of a row that a function has made.

    Args:
        view: name of the feature view, for messages.
        each: whose row it is, for messages.
        row: features by name, `event_timestamp`, and `created` (now by default).
        kinds: of all features of the view.
        base: `created` of the snapshot on which it stands.

    Raises:
        FeatureError: it has no moment, a feature that the view lacks, or a value of another kind.
    """
    if EVENT not in row:
        raise FeatureError(f"the new row of {each!r} in {view} has no {EVENT}")
    created = row.get(CREATED)
    stamp = Stamp(
        microseconds(row[EVENT], EVENT),
        now_us() if created is None else microseconds(created, CREATED),
        base,
    )
    values = {}
    for name, value in row.items():
        if name in (EVENT, CREATED):
            continue
        if name not in kinds:
            raise FeatureError(
                f"{view} has no feature {name!r}; it has {', '.join(sorted(kinds))}",
                "apply the definitions, then write again",
            )
        try:
            values[name] = encode_value(value, kinds[name])
        except FeatureError as error:
            raise FeatureError(f"{view} of {each!r}: {name}: {error.message}") from None
    return values, stamp


def checked(view: str, kinds: Mapping[str, str]) -> dict[str, str]:
    """Return kinds as given.

    Raises:
        FeatureError: one of them isn't known.
    """
    unknown = {name: kind for name, kind in kinds.items() if kind not in KINDS}
    if unknown:
        name, kind = next(iter(unknown.items()))
        raise FeatureError(
            f"{len(unknown)} features of {view} are of kinds that the stores can't keep, e.g. "
            f"{name}: {kind}",
            f"one of {', '.join(KINDS)}; moments are int64 milliseconds",
        )
    return dict(kinds)
