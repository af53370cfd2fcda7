"""A person in the feature stores: online (SQLite or Redis) and offline (snapshots, landed events).

Every project of a workspace is gone through, and every row about the person whatever view it is
of, so that a view that is no longer defined is no hiding place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.profile import Profile
from feature_repo.stream.landing import FOLDER, Landing
from feature_repo.wire import encode_key
from recommender.forgetting import bucket, sqlite, texts
from recommender.forgetting.artifacts import files_of, sweep
from recommender.forgetting.person import Person
from recommender.forgetting.removed import NOTHING, Removed
from recommender.forgetting.scan import Scan, Trace
from recommender.storage import is_s3, open_store
from recommender.workspace import Workspace

if TYPE_CHECKING:
    from feature_repo.stores.redis_client import RedisClient

USER = "user_id"
"""The join key of everything that is about users."""

_PAGE = 1_000
_WAIT_S = 60.0


def keys_of(user_id: str) -> tuple[bytes, ...]:
    """Return the bytes under which online stores keep a user."""
    return (encode_key(USER, user_id),)


def erase_online(paths: Workspace, profile: Profile, person: Person) -> Removed:
    """Take the person out of the online store of every project; no byte stays in a file or log.

    Raises:
        StorageError, FeatureError: a store can't be reached or written; run again.
    """
    done = NOTHING
    for path in sorted(paths.features.glob("*.db")):
        if rows := sqlite.erase(path, person):
            done += Removed(rows, 1)
    return done + (_erase_redis(profile.redis, person) if profile.redis else NOTHING)


def scan_online(profile: Profile, person: Person) -> Scan:
    """Look for the person in the online store that is no file: every key and value of Redis."""
    if not profile.redis:
        return Scan()
    found = keys = 0
    with _redis(profile.redis) as client:
        for page in _pages(client, b"*"):
            keys += len(page)
            found += sum(_names(key, held, person) for key, held in _contents(client, page))
        where = client.place
    traces = (Trace(f"Redis at {where}", found),) if found else ()
    return Scan(traces, (), {"Redis keys": keys})


def erase_offline(paths: Workspace, profile: Profile, person: Person) -> Removed:
    """Take the person out of snapshots, landed and rejected events, wherever those lie.

    Raises:
        StorageError, FeatureError: a file can't be read or written; run again.
    """
    done = _erase_folder(paths.features / "offline", person)
    for path in files_of(paths.features / "rejected"):
        # A consumer may be appending to it.
        if lines := texts.erase_records(path, person):
            done += Removed(lines, 1)
    if profile.offline is None:
        return done
    if is_s3(profile.offline):
        return done + bucket.erase(open_store(profile.offline), person, paths.data, paths.privacy)
    return done + _erase_folder(Path(profile.offline), person)


def _erase_folder(folder: Path, person: Person) -> Removed:
    done = NOTHING
    for landed in sorted(folder.glob(f"*/{FOLDER}")):
        # It knows how to do so while events land and others compact.
        if rows := Landing(str(landed.parent)).remove([person.user_id]):
            done += Removed(rows, 1)
    return done + sweep(files_of(folder), person)


def _erase_redis(connection: str, person: Person) -> Removed:
    done = NOTHING
    with _redis(connection) as client:
        for key in person.keys:
            for page in _pages(client, _literally(key) + b"*"):
                with client.speaking_plainly():
                    pipe = client.redis.pipeline(transaction=False)
                    for each in page:
                        pipe.hlen(each)
                    fields = sum(pipe.execute())
                    client.redis.delete(*page)
                done += Removed(fields, 0)
        done += _erase_mentions(client, person)
    return done


def _erase_mentions(client: RedisClient, person: Person) -> Removed:
    """Take out fields of others' rows that name the person by pseudonym.

    That is what a follower's row tells of whom they follow. The next publication writes it again,
    without the person.
    """
    done = NOTHING
    for page in _pages(client, b"*"):
        with client.speaking_plainly():
            pipe = client.redis.pipeline(transaction=False)
            for key in page:
                pipe.type(key)
            hashes = [k for k, kind in zip(page, pipe.execute(), strict=True) if kind == b"hash"]
            for key in hashes:
                pipe.hgetall(key)
            for key, held in zip(hashes, pipe.execute(), strict=True):
                mark = person.pseudonym.encode()
                if named := [field for field, value in held.items() if mark in value]:
                    pipe.hdel(key, *named)
                    done += Removed(len(named), 0)
            pipe.execute()
    return done


@contextmanager
def _redis(connection: str) -> Iterator[RedisClient]:
    from feature_repo.stores.redis_client import RedisClient

    client = RedisClient(connection, _WAIT_S)
    try:
        yield client
    finally:
        client.close()


def _pages(client: RedisClient, pattern: bytes) -> Iterator[list[bytes]]:
    with client.speaking_plainly():
        scanned = client.redis.scan_iter(match=pattern, count=_PAGE)
        while page := list(islice(scanned, _PAGE)):
            yield page


def _contents(client: RedisClient, keys: list[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield what some keys hold, as far as it is text or bytes."""
    with client.speaking_plainly():
        pipe = client.redis.pipeline(transaction=False)
        for key in keys:
            pipe.type(key)
        kinds = pipe.execute()
        pipe = client.redis.pipeline(transaction=False)
        for key, kind in zip(keys, kinds, strict=True):
            pipe.hgetall(key) if kind == b"hash" else pipe.dump(key)
        for key, held in zip(keys, pipe.execute(), strict=True):
            if isinstance(held, dict):
                yield key, [part for pair in held.items() for part in pair]
            else:
                yield key, [held] if held else []


def _names(key: bytes, held: list[bytes], person: Person) -> bool:
    return person.is_marked_in(key) or any(person.is_in_bytes(part, binary=True) for part in held)


def _literally(pattern: bytes) -> bytes:
    """Take the meaning from the signs that `SCAN` would interpret."""
    return b"".join(b"\\" + bytes([c]) if c in b"*?[]\\^" else bytes([c]) for c in pattern)
