"""Who may start runs: a bearer token or a signature, and not too often."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping

from feature_repo.stream.http import is_loopback
from recommender.errors import ConfigError

TOKEN_VARIABLE = "OSTINATO_TRIGGER_TOKEN"  # noqa: S105 - the name of a variable
SECRET_VARIABLE = "OSTINATO_TRIGGER_SECRET"  # noqa: S105 - the name of a variable
SIGNATURE, MOMENT = "x-ostinato-signature", "x-ostinato-time"
_SHORTEST = 16
_LONGEST_MOMENT = 12
_CALLERS = 10_000


class Guard:
    """Tells callers apart and counts them.

    A signed request bears `x-ostinato-time` (seconds since 1970) and `x-ostinato-signature`:
    `sha256=` and the hex HMAC-SHA-256 of that time, a dot and the body; the event's envelope has
    to be in the body, then.

    Args:
        token: that a request may bear; None: none does.
        secret: that a request may be signed with; None: none is.
        tolerance_s: how far a signed request's time may be from ours.
        per_minute: requests of one caller.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        token: str | None,
        secret: str | None,
        tolerance_s: float,
        per_minute: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._token = token
        self._secret = secret
        self._tolerance_s = tolerance_s
        self._per_minute = per_minute
        self._clock = clock
        self._calls: OrderedDict[str, deque[float]] = OrderedDict()

    def vouches_for_headers(self, headers: Mapping[str, str]) -> bool:
        """Tell whether whoever may start a run by these headers has written all of them.

        A signature covers the body alone, so anybody could send a copy of it with others.
        """
        return SIGNATURE not in headers or self._secret is None or self._bears_token(headers)

    def _bears_token(self, headers: Mapping[str, str]) -> bool:
        scheme = headers.get("authorization", "").partition(" ")[0]
        return self._token is not None and scheme.lower() == "bearer"

    def admits(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Tell whether a request may start a run."""
        if self._token is None and self._secret is None:
            return True
        if self._token is not None and self._bears_token(headers):
            given = headers["authorization"].partition(" ")[2]
            return hmac.compare_digest(given.strip().encode(), self._token.encode())
        if self._secret is None:
            return False
        moment = headers.get(MOMENT, "")
        if not (moment.isascii() and moment.isdecimal() and len(moment) <= _LONGEST_MOMENT):
            return False
        if abs(self._clock() - int(moment)) > self._tolerance_s:
            return False
        return hmac.compare_digest(
            headers.get(SIGNATURE, "").encode(), signature(self._secret, moment, body).encode()
        )

    def too_often(self, caller: str) -> bool:
        """Count a call, and tell whether it is one too many within a minute."""
        now = self._clock()
        calls = self._calls.setdefault(caller, deque())
        self._calls.move_to_end(caller)
        if len(self._calls) > _CALLERS:
            self._calls.popitem(last=False)
        while calls and now - calls[0] >= 60:
            calls.popleft()
        if len(calls) >= self._per_minute:
            return True
        calls.append(now)
        return False


def signature(secret: str, moment: str, body: bytes) -> str:
    """Return what a signed request bears.

    Args:
        secret: shared with the caller.
        moment: seconds since 1970, as text.
        body: of the request.
    """
    told = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256)
    return f"sha256={told.hexdigest()}"


def secrets_of(environment: Mapping[str, str], host: str) -> tuple[str | None, str | None]:
    """Return the token and the signing secret of the environment.

    Args:
        environment: the variables.
        host: that will be listened on.

    Raises:
        ConfigError: one is too short, or there is none although others can connect.
    """
    found = []
    for variable in (TOKEN_VARIABLE, SECRET_VARIABLE):
        value = environment.get(variable, "").strip()
        if value and len(value) < _SHORTEST:
            raise ConfigError(
                f"{variable} has {len(value)} characters; it needs {_SHORTEST} or more",
                "make one with `openssl rand -hex 32`",
            )
        found.append(value or None)
    if not any(found) and not is_loopback(host):
        raise ConfigError(
            f"{host} can be reached by others, and neither {TOKEN_VARIABLE} nor "
            f"{SECRET_VARIABLE} is set",
            "make one with `openssl rand -hex 32`, or listen on 127.0.0.1",
        )
    return found[0], found[1]


def guard_of(host: str, tolerance_s: float, per_minute: int) -> Guard:
    """Return the guard that this process's environment asks for; errors as `secrets_of`."""
    token, secret = secrets_of(os.environ, host)
    return Guard(token, secret, tolerance_s, per_minute)
