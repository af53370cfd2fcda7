"""Talking to Redis: the connection string, commands by the thousand, and what its errors mean.

`redis` is imported when a client is made: it costs 0.2 s, and an embedded deployment needs none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from recommender.errors import FeatureError

_ADVICE = {
    "OOM": "it has reached `maxmemory`: give it more, or remove what else lies there; "
    "every row is still whole, and a second run finishes the work",
    "READONLY": "this is a replica: point OSTINATO_REDIS at the primary",
    "MISCONF": "it can't save to its disk: look at its log, or free some space there",
    "LOADING": "it is still reading its data from disk: try again in a moment",
    "NOAUTH": "give the password in OSTINATO_REDIS: host:port,password=…",
    "WRONGPASS": "the username or password in OSTINATO_REDIS is wrong",
    "NOPERM": "this user may not use that command: HSET, HMGET, HDEL, SCAN and EVALSHA are needed",
    "MOVED": "this is a cluster; use a single server, or an endpoint that stands for one",
}
_CODES = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "AuthenticationError": "WRONGPASS",
    "NoPermissionError": "NOPERM",
    "MovedError": "MOVED",
}
_PASSING = ("LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN")


class StoreDownError(FeatureError):
    """The online store does not answer now; asking again later makes sense."""

    passing = True


class RedisClient:
    """A pool of connections to one server; safe to share between threads.

    A connection that was closed meanwhile (the server was started anew, say) is opened again;
    one that does not answer in time is not asked twice.

    Args:
        connection: as Feast writes it: `host:6379,db=0,ssl=true,password=…`. It is in no message.
        wait_s: longest wait for a connection and for an answer.

    Raises:
        FeatureError: the connection string isn't one of a single server.
    """

    def __init__(self, connection: str, wait_s: float) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options = _options(connection)
        self.place = f"{options['host']}:{options['port']}"
        waits = {"socket_timeout": wait_s, "socket_connect_timeout": wait_s}
        again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        try:
            self.redis: Any = redis.Redis(**{**waits, **options}, retry=again)
        except TypeError as error:
            raise FeatureError(f"the Redis connection string is wrong: {error}") from None

    def send(self, commands: bytes, count: int) -> list[Any]:
        """Send packed commands and return their answers; once more where the connection is gone.

        Args:
            commands: in Redis's protocol, one after the other; sending them twice does no harm.
            count: how many they are.

        Raises:
            redis.RedisError: the first error among the answers, or of the connection.
        """
        import redis

        try:
            return self._sent(commands, count)
        except redis.ConnectionError:
            return self._sent(commands, count)

    @contextmanager
    def speaking_plainly(self) -> Iterator[None]:
        """Turn what Redis says into a `FeatureError` that tells what to do."""
        import redis

        try:
            yield
        except (redis.ConnectionError, redis.TimeoutError) as error:
            if isinstance(error, redis.AuthenticationError):
                raise self._explained(error) from error
            raise StoreDownError(
                f"the feature store at {self.place} does not answer: {error}",
                "is Redis running, and is OSTINATO_REDIS right?",
            ) from error
        except redis.RedisError as error:
            raise self._explained(error) from error

    def close(self) -> None:
        """Close every connection."""
        self.redis.close()
        self.redis.connection_pool.disconnect()

    def _sent(self, commands: bytes, count: int) -> list[Any]:
        import redis

        pool = self.redis.connection_pool
        connection = pool.get_connection()
        answers: list[Any] = []
        first: Exception | None = None
        try:
            connection.send_packed_command([commands])
            for _ in range(count):
                try:
                    answers.append(connection.read_response())
                except redis.ResponseError as error:
                    # The rest must be read all the same: the next user would get it.
                    first = first or error
        except BaseException:
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
        if first:
            raise first
        return answers

    def _explained(self, error: Exception) -> FeatureError:
        said = str(error)
        # Redis-py makes a class of some codes and takes them off the message.
        code = _CODES.get(type(error).__name__, said.split(" ", 1)[0])
        kind = StoreDownError if code in _PASSING else FeatureError
        full = said if said.startswith(code) else f"{code} {said}"
        return kind(f"the feature store at {self.place} refuses: {full}", _ADVICE.get(code, ""))


def packed(*words: bytes) -> bytes:
    """Return one command in Redis's protocol."""
    return b"*%d\r\n" % len(words) + b"".join(map(word, words))


def word(content: bytes) -> bytes:
    """Return one word of a command in Redis's protocol."""
    return b"$%d\r\n%b\r\n" % (len(content), content)


def words(contents: Sequence[bytes], before: bytes = b"") -> list[bytes]:
    """Return many words, each with something before it."""
    form = before.replace(b"%", b"%%") + b"$%d\r\n%b\r\n"
    return [form % (len(content), content) for content in contents]


def _options(connection: str) -> dict[str, Any]:
    """Read a connection string the way Feast does: values are JSON where they can be."""
    parts = [part.strip() for part in connection.split(",")]
    nodes = [part for part in parts if part and "=" not in part]
    if len(nodes) != 1 or ":" not in nodes[0]:
        raise FeatureError(
            f"the Redis connection string names {len(nodes)} servers; one host:port is needed",
            "clusters are not supported; use a single server, or an endpoint that stands for one",
        )
    host, _, port = nodes[0].rpartition(":")
    options: dict[str, Any] = {}
    for part in parts:
        name, equals, text = part.partition("=")
        if equals:
            try:
                options[name] = json.loads(text)
            except json.JSONDecodeError:
                options[name] = text
    if "password" in options:
        options["password"] = str(options["password"])
    return {**options, "host": host, "port": int(port)}
