"""How a row lies in Redis as Feast keeps it: one hash per entity, shared by all views about it.

| part | content |
|---|---|
| key | Feast's entity key, then the project's name |
| field of a feature | murmur3-32 of `<view>:<feature>`, little endian |
| field `_ts:<view>` | `event_timestamp`, a protobuf `Timestamp` |
| field `_age:<view>` (ours) | exact age, a nonce of the write, and the `_ts` it was written with |

Feast never reads or writes `_age:`. It counts only as long as `_ts:` is what it was written with.
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache

from feature_repo.stores.stamps import UNKNOWN, Stamp
from feature_repo.wire import encode_key

_AGE = struct.Struct(">qqq8s")


class Fields:
    """The fields of one view in a hash.

    Args:
        view: name of the feature view.
    """

    def __init__(self, view: str) -> None:
        self._view = view
        self.ts = f"_ts:{view}".encode()
        self.age = f"_age:{view}".encode()

    def feature(self, name: str) -> bytes:
        """Return the field of a feature."""
        return _hashed(f"{self._view}:{name}")


@lru_cache(maxsize=4096)
def _hashed(name: str) -> bytes:
    import mmh3

    return struct.pack("<I", mmh3.hash(name, signed=False))


class Keys:
    """The keys of the entities of one join key in one project.

    Args:
        project: Feast project.
        key: name of the join key.
    """

    def __init__(self, project: str, key: str) -> None:
        self._key = key
        self._suffix = project.encode()
        empty = encode_key(key, "")
        self._prefix = empty[:-4]
        self._start = len(empty)
        self.pattern = _literally(self._prefix) + b"*" + _literally(self._suffix)
        """What `SCAN` is asked for; finds keys of other projects with the same ending, too."""

    def of(self, value: str) -> bytes:
        """Return the key of an entity."""
        return encode_key(self._key, value) + self._suffix

    def value(self, key: bytes) -> str | None:
        """Return whose key it is; None if it is of another project."""
        if len(key) < self._start or not key.startswith(self._prefix):
            return None
        (size,) = struct.unpack_from("<I", key, self._start - 4)
        if key[self._start + size :] != self._suffix:
            return None
        return key[self._start : self._start + size].decode()


def new_nonce() -> bytes:
    """Return bytes that tell this write from every other."""
    return os.urandom(8)


def timestamp(us: int) -> bytes:
    """Return UTC microseconds as a `google.protobuf.Timestamp`."""
    from google.protobuf.timestamp_pb2 import Timestamp  # type: ignore[import-untyped]

    seconds, rest = divmod(us, 1_000_000)
    return bytes(Timestamp(seconds=seconds, nanos=rest * 1000).SerializeToString())


def age(stamp: Stamp, nonce: bytes, ts: bytes) -> bytes:
    """Return the content of the field `_age:`."""
    return _AGE.pack(*stamp, nonce) + ts


def stamp_of(ts: bytes, held: bytes | None) -> Stamp:
    """Return how old a row is.

    Args:
        ts: content of `_ts:`.
        held: content of `_age:`, if there is one.
    """
    if held is not None and len(held) >= _AGE.size and held[_AGE.size :] == ts:
        event, created, base, _ = _AGE.unpack_from(held)
        return Stamp(event, created, base)
    from google.protobuf.timestamp_pb2 import Timestamp

    moment = Timestamp.FromString(ts)
    return Stamp(moment.seconds * 1_000_000 + moment.nanos // 1000, UNKNOWN)


def _literally(pattern: bytes) -> bytes:
    """Take the meaning from the signs that `SCAN` would interpret."""
    return b"".join(b"\\" + bytes([c]) if c in b"*?[]\\^" else bytes([c]) for c in pattern)
