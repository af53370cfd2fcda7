"""The production online store: Feast's Redis layout, written and read without its SDK.

A row is one hash command, so it is whole at any moment, also after a kill; which rows a killed
write reached is told by nothing, and a second write finishes the work. Ages are compared in the
server, in the same step as the write (`redis_scripts.py`).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from feature_repo.stores.online_store import Merge, Row, Written, replace
from feature_repo.stores.redis_changes import (
    Changing,
    Leave,
    change_words,
    merging,
    put_commands,
    retiring,
    sha,
    updating,
)
from feature_repo.stores.redis_client import RedisClient, StoreDownError, packed, word, words
from feature_repo.stores.redis_layout import Fields, Keys, new_nonce, stamp_of
from feature_repo.stores.redis_scripts import PUT, SWAP
from feature_repo.stores.rows import Rows, checked
from feature_repo.stores.stamps import microseconds
from feature_repo.wire import decode_value
from recommender.errors import FeatureError

if TYPE_CHECKING:
    import pyarrow as pa

_PAGE = 1_000
"""Keys per round trip."""

_TRIES = 200
"""How often one row is tried before we say that it changes too fast; each try that fails means
that somebody else's succeeded."""

_WRITE_WAIT_S = 60.0


class RedisStore:
    """The rows of one Feast project in a Redis server; safe to share between threads.

    Args:
        connection: as Feast writes it: `host:6379,db=0,password=…`.
        project: Feast project.
        wait_s: longest wait for an answer to a read; writes wait longer.

    Raises:
        FeatureError: the connection string isn't one of a single server.
    """

    def __init__(self, connection: str, project: str, wait_s: float = 5.0) -> None:
        self._client = RedisClient(connection, wait_s)
        self._connection = connection
        self._project = project
        self._catalogue = f"ostinato:views:{project}".encode()
        self._known: dict[str, tuple[str, dict[str, str]]] = {}
        self._patient: RedisClient | None = None

    def declare(self, view: str, key: str, kinds: Mapping[str, str]) -> None:
        """Make a view known; see `OnlineStore`."""
        held = {"key": key, "kinds": checked(view, kinds)}
        with self._writer.speaking_plainly():
            self._writer.redis.hset(self._catalogue, view, json.dumps(held, sort_keys=True))
        self._known.pop(view, None)

    def views(self) -> list[str]:
        """Return the names of the views that the store knows, sorted; see `OnlineStore`."""
        with self._client.speaking_plainly():
            return sorted(view.decode() for view in self._client.redis.hkeys(self._catalogue))

    def rows(
        self, view: str, key: str, ids: Sequence[str], features: Sequence[str] | None = None
    ) -> list[Row | None]:
        """Return rows in the order of `ids`; see `OnlineStore`."""
        names = list(self._view(view, anew=True)[1] if features is None else features)
        fields, keys = Fields(view), Keys(self._project, key)
        wanted = [fields.ts, *map(fields.feature, names)]
        found: list[Row | None] = []
        for replies in self._held([keys.of(each) for each in ids], wanted):
            for ts, *messages in replies:
                row = None
                if ts is not None:
                    row = {
                        name: decode_value(message) if message else None
                        for name, message in zip(names, messages, strict=True)
                    }
                found.append(row)
        if not any(found):
            # Nobody known: is it that, or was the server emptied?
            self._view(view, anew=True)
        return found

    def ids(self, view: str) -> Iterator[str]:
        """Yield the ids of a view; see `OnlineStore`."""
        for page in self._pages(view, [Fields(view).ts]):
            yield from (each for each, _, (ts,) in page if ts is not None)

    def write(
        self, view: str, key: str, batches: Iterable[pa.RecordBatch], merge: Merge | None = None
    ) -> Written:
        """Write snapshot rows; see `OnlineStore`."""
        from feature_repo.stores.snapshot_rows import encoded_rows, kinds_of

        told, declared = Written(), False
        nonce = new_nonce()
        with self._writer.speaking_plainly():
            for batch in batches:
                rows = encoded_rows(view, key, [batch])
                # What can't be kept must not change what is known of the view.
                first = next(rows, None)
                if not declared:
                    self.declare(view, key, kinds_of(key, batch.schema))
                    declared = True
                for some in chain([first] if first else [], rows):
                    told += self._put(view, key, some, nonce, merge)
        return told

    def update(
        self, view: str, key: str, changes: Mapping[str, Callable[[Row | None], Row | None]]
    ) -> None:
        """Read, change and write rows; see `OnlineStore`."""
        kinds, keys = self._view(view)[1], Keys(self._project, key)
        made = {
            keys.of(each): updating(view, each, kinds, change) for each, change in changes.items()
        }
        with self._writer.speaking_plainly():
            self._change(view, made)

    def remove(self, view: str, key: str, ids: Iterable[str]) -> int:
        """Remove rows; see `OnlineStore`."""
        fields, keys = Fields(view), Keys(self._project, key)
        features = [fields.feature(name) for name in self._view(view, anew=True)[1]]
        left = iter(ids)
        removed = 0
        with self._writer.speaking_plainly():
            while page := list(islice(left, _PAGE)):
                commands = [
                    packed(b"HDEL", keys.of(each), *names)
                    for each in page
                    for names in ([fields.ts], [fields.age, *features])
                ]
                removed += sum(self._writer.send(b"".join(commands), len(commands))[::2])
        return removed

    def retain(
        self,
        view: str,
        key: str,
        since: datetime,
        remainder: Callable[[Row], Row | None] | None = None,
    ) -> int:
        """Remove the rows that no snapshot since has held; see `OnlineStore`."""
        del key
        limit = microseconds(since, "since")
        kinds = self._view(view, anew=True)[1]
        removed = 0
        fields = Fields(view)
        with self._writer.speaking_plainly():
            for page in self._pages(view, [fields.ts, fields.age]):
                old = {
                    key: retiring(view, each, kinds, limit, remainder)
                    for each, key, (ts, held) in page
                    if ts is not None and stamp_of(ts, held).base < limit
                }
                removed += self._change(view, old)
        return removed

    def drop(self, view: str) -> None:
        """Remove a view with all its rows; see `OnlineStore`."""
        if view not in self.views():
            return
        key = self._view(view, anew=True)[0]
        self.remove(view, key, self.ids(view))
        with self._writer.speaking_plainly():
            self._writer.redis.hdel(self._catalogue, view)
        self._known.pop(view, None)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()
        if self._patient:
            self._patient.close()

    @property
    def _writer(self) -> RedisClient:
        if self._patient is None:
            self._patient = RedisClient(self._connection, _WRITE_WAIT_S)
        return self._patient

    def _view(self, view: str, anew: bool = False) -> tuple[str, dict[str, str]]:
        """Return the join key and the kinds of a view's features."""
        if anew or view not in self._known:
            with self._client.speaking_plainly():
                held = self._client.redis.hget(self._catalogue, view)
            if held is None:
                raise FeatureError(
                    f"the feature store at {self._client.place} doesn't know the view {view} of "
                    f"{self._project}",
                    "apply the definitions or publish once: `ostinato run`",
                )
            told = json.loads(held)
            self._known[view] = told["key"], told["kinds"]
        return self._known[view]

    def _held(self, keys: Sequence[bytes], fields: Sequence[bytes]) -> Iterator[list[Any]]:
        """Yield the contents of some fields of many hashes, a page at a time."""
        head = b"*%d\r\n" % (len(fields) + 2) + word(b"HMGET")
        tail = b"".join(words(fields))
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            commands = b"".join(head + word(key) + tail for key in page)
            with self._client.speaking_plainly():
                yield self._client.send(commands, len(page))

    def _pages(
        self, view: str, fields: Sequence[bytes]
    ) -> Iterator[list[tuple[str, bytes, list[bytes | None]]]]:
        """Yield ids, keys and contents of some fields of all entities of a view's join key."""
        keys = Keys(self._project, self._view(view, anew=True)[0])
        with self._client.speaking_plainly():
            scanned = self._client.redis.scan_iter(match=keys.pattern, count=_PAGE)
            while page := list(islice(scanned, _PAGE)):
                ours = [(each, key) for key in page if (each := keys.value(key)) is not None]
                for replies in self._held([key for _, key in ours], fields):
                    yield [(*who, held) for who, held in zip(ours, replies, strict=True)]

    def _put(self, view: str, key: str, rows: Rows, nonce: bytes, merge: Merge | None) -> Written:
        keys = Keys(self._project, key)
        mode = b"newest" if merge is None else b"replace" if merge is replace else b"merge"
        commands = put_commands(view, [keys.of(each) for each in rows.ids], rows, nonce, mode)
        answers = self._run(PUT, commands, len(rows))
        stale = answers.count(0)
        merged = [index for index, answer in enumerate(answers) if answer == 2]
        if merge and merged:
            kinds = self._view(view)[1]
            changes = {
                keys.of(rows.ids[index]): merging(view, rows, index, kinds, merge)
                for index in merged
            }
            self._change(view, changes)
        return Written(len(rows) - stale, len(merged), stale + rows.older)

    def _change(self, view: str, changing: Mapping[bytes, Changing]) -> int:
        """Change rows by what they hold, each in one step; return how many were removed."""
        fields, names = Fields(view), list(self._view(view)[1])
        every = [fields.ts, fields.age, *map(fields.feature, names)]
        left = list(changing)
        tried: dict[bytes, bytes] = {}
        removed = 0
        for attempt in range(_TRIES):
            if not left:
                return removed
            if attempt > 1:
                time.sleep(random.random() * 0.001 * min(attempt, 20))  # noqa: S311
            commands: dict[bytes, bytes] = {}
            replies = (reply for page in self._held(left, every) for reply in page)
            for key, (ts, held, *messages) in zip(left, replies, strict=True):
                if key in tried and (held or b"") == tried[key]:
                    continue  # it was written, and the answer was lost
                stamp = stamp_of(ts, held) if ts is not None else None
                values = dict(zip(names, (each or b"" for each in messages), strict=True))
                made = changing[key](values if stamp else None, stamp)
                if isinstance(made, Leave):
                    continue
                seen = (fields.ts, fields.age, ts or b"", held or b"")
                tried[key], change = change_words(fields, made, every)
                commands[key] = packed(b"EVALSHA", sha(SWAP), b"1", key, *seen, *change)
            answers = self._run(SWAP, b"".join(commands.values()), len(commands))
            done = dict(zip(commands, answers, strict=True))
            removed += sum(1 for key, answer in done.items() if answer and not tried[key])
            left = [key for key, answer in done.items() if not answer]
        raise StoreDownError(
            f"{len(left)} rows of {view} changed {_TRIES} times while they were to be changed",
            "fewer writers for the same user, or larger batches",
        )

    def _run(self, script: str, commands: bytes, count: int) -> list[Any]:
        """Send commands that call a script; a server that was started anew is told it first."""
        import redis

        if not count:
            return []
        try:
            return self._writer.send(commands, count)
        except redis.exceptions.NoScriptError:
            self._writer.redis.script_load(script)
            return self._writer.send(commands, count)
