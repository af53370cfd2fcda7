"""What a row in Redis is changed to, and the commands that make it so.

A change is worked out of what the row holds. A command carries what was seen, and a script in the
server refuses it where the row has changed since (`redis_scripts.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from feature_repo.stores.online_store import Merge, Row
from feature_repo.stores.redis_client import word, words
from feature_repo.stores.redis_layout import Fields, age, new_nonce, timestamp
from feature_repo.stores.redis_scripts import PUT
from feature_repo.stores.rows import Rows, decoded, judge, made_now, prepared
from feature_repo.stores.stamps import Stamp

Made = tuple[dict[str, bytes], Stamp] | None
"""What a row is changed to: messages and age; None removes it."""


class Leave:
    """Says that a row stays as it is."""


LEAVE = Leave()

Values = dict[str, bytes] | None
"""What a row holds: messages; None where there is no row."""

Changing = Callable[[Values, Stamp | None], "Made | Leave"]
"""Works a change out of what a row holds, and of its age."""


def put_commands(view: str, keys: Sequence[bytes], rows: Rows, nonce: bytes, mode: bytes) -> bytes:
    """Return the commands that write rows, one each.

    Args:
        view: of the rows.
        keys: of the rows, in their order.
        rows: to write.
        nonce: tells this writing from others.
        mode: what becomes of a row that is there; see `redis_scripts.PUT`.
    """
    fields = Fields(view)
    head = b"*%d\r\n" % (4 + 1 + 4 + 2 * len(rows.values)) + b"".join(
        words([b"EVALSHA", sha(PUT), b"1"])
    )
    known: dict[Stamp, bytes] = {}
    for stamp in rows.stamps:
        if stamp not in known:
            ts = timestamp(stamp.event)
            known[stamp] = b"".join(words([mode, fields.ts, ts, fields.age, age(stamp, nonce, ts)]))
    columns = (words(each, word(fields.feature(name))) for name, each in rows.values.items())
    ages = (known[stamp] for stamp in rows.stamps)
    parts = zip(words(keys, head), ages, *columns, strict=True)
    return b"".join(part for row in parts for part in row)


def merging(view: str, rows: Rows, index: int, kinds: Mapping[str, str], merge: Merge) -> Changing:
    """Return the change that merges a row of `rows` into what is there by then."""
    new = rows.stamps[index]

    def change(held: Values, stamp: Stamp | None) -> Made | Leave:
        # Judged again: it may have changed since the server said that it must be merged.
        verdict = judge([new], [stamp], merge)
        if verdict.stale:
            return LEAVE
        if held is None or stamp is None or verdict.put:
            return {name: each[index] for name, each in rows.values.items()}, new
        row = made_now(merge(rows.row(index), decoded(held, stamp)))
        return prepared(view, rows.ids[index], row, kinds, new.created)

    return change


def updating(
    view: str, row_id: str, kinds: Mapping[str, str], change: Callable[[Row | None], Row | None]
) -> Changing:
    """Return the change that `change` makes of a row; it leaves the row where it gives None."""

    def changed(held: Values, stamp: Stamp | None) -> Made | Leave:
        row = change(decoded(held, stamp) if held is not None and stamp else None)
        if row is None:
            return LEAVE
        return prepared(view, row_id, row, kinds, stamp.base if stamp else 0)

    return changed


def retiring(
    view: str,
    row_id: str,
    kinds: Mapping[str, str],
    limit: int,
    remainder: Callable[[Row], Row | None] | None,
) -> Changing:
    """Return the change that lets `remainder` remain of a row whose snapshot is before `limit`."""

    def changed(held: Values, stamp: Stamp | None) -> Made | Leave:
        if held is None or stamp is None or stamp.base >= limit:
            return LEAVE
        row = remainder(decoded(held, stamp)) if remainder else None
        return None if row is None else prepared(view, row_id, row, kinds, 0)

    return changed


def change_words(fields: Fields, made: Made, every: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """Return the content of `_age:` afterwards, and the command that makes it so."""
    if made is None:
        return b"", [b"HDEL", *every]
    values, stamp = made
    ts = timestamp(stamp.event)
    exact = age(stamp, new_nonce(), ts)
    features = [part for name, each in values.items() for part in (fields.feature(name), each)]
    return exact, [b"HSET", fields.ts, ts, fields.age, exact, *features]


def sha(script: str) -> bytes:
    """Return the name by which a server that was told a script knows it."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest().encode()
