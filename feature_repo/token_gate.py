"""Who may ask a feature server what: bearer tokens, checked before anything is run."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from recommender.errors import ConfigError

READ_VARIABLE = "OSTINATO_FEATURES_TOKEN"
WRITE_VARIABLE = "OSTINATO_FEATURES_WRITE_TOKEN"

_SHORTEST = 24
"""Signs of a token: 24 of base64 are 144 bits."""

_OPEN = {("GET", "/health")}
"""For probes; says nothing of features."""

_READING = {("POST", "/get-online-features")}
"""What a token for reading is good for; everything else takes one for writing."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Tokens:
    """SHA-256 of the tokens that are accepted; several of a kind while one is being exchanged.

    Attributes:
        readers: for reading online features.
        writers: for everything, pushing and materializing included; may be none.
    """

    readers: tuple[bytes, ...]
    writers: tuple[bytes, ...]

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Tokens | None:
        """Return the tokens that the environment names, with commas between several; or None.

        Raises:
            ConfigError: a token is too short to be secret; or there is one for writing only.
        """
        readers = _digests(environment, READ_VARIABLE)
        writers = _digests(environment, WRITE_VARIABLE)
        if writers and not readers:
            raise ConfigError(
                f"{WRITE_VARIABLE} is set, and {READ_VARIABLE} isn't",
                "set both; who reads should not be able to write",
            )
        return cls(readers, writers) if readers else None

    def level(self, header: str | None) -> str | None:
        """Return what an `Authorization` header entitles to: `write`, `read` or None (nothing)."""
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        given = sha256(token.strip().encode()).digest()
        # Every one is compared, in constant time: nothing is learnt from how long it takes.
        reads = [hmac.compare_digest(given, each) for each in self.readers]
        writes = [hmac.compare_digest(given, each) for each in self.writers]
        return "write" if any(writes) else "read" if any(reads) else None


class TokenGate:
    """An ASGI application that lets only those requests through that carry the right token.

    401 without a known token, 403 with one that isn't good for this; WebSockets are refused.

    Args:
        app: what is behind the gate.
        tokens: that are accepted.
    """

    def __init__(self, app: App, tokens: Tokens) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif refusal := self._refusal(scope):
            await _refuse(send, *refusal)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        asked = (scope["method"], scope["path"])
        if asked in _OPEN:
            return None
        given = {name.lower(): value for name, value in scope["headers"]}
        level = self._tokens.level(given.get(b"authorization", b"").decode("latin-1"))
        if level is None:
            return 401, "a bearer token is needed"
        if level == "read" and asked not in _READING:
            return 403, "this token is good for reading online features only"
        return None


async def _refuse(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": reason}).encode()})


def _digests(environment: Mapping[str, str], variable: str) -> tuple[bytes, ...]:
    given = [each.strip() for each in environment.get(variable, "").split(",") if each.strip()]
    if any(len(each) < _SHORTEST for each in given):
        raise ConfigError(
            f"{variable} holds a token of less than {_SHORTEST} signs",
            "make one: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    return tuple(sha256(each.encode()).digest() for each in given)
