"""Calls of the pipelines API: patient with what passes, clear about what doesn't."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from recommender.config.backend import BackendConfig
from recommender.errors import UserError

logger = logging.getLogger(__name__)

T = TypeVar("T")
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_PAUSE_S = 30.0


class BackendError(UserError):
    """The pipelines backend refuses, or can't be reached."""


class AwayError(BackendError):
    """The backend can't be reached, or is too busy, after all attempts."""

    passing = True


class TokenError(BackendError):
    """The token is missing, has expired or may not do that: renewal helps, or a person.

    A gateway answers 403 where the pipelines API would answer 401.
    """

    passing = True


class NotFoundError(BackendError):
    """What was asked for isn't there (any more)."""


class ConflictError(BackendError):
    """Something of that name is there already."""


class Calls:
    """Makes calls; those that fail for a passing reason are made again, a bounded number of times.

    Only for calls that may be made twice: whoever creates something looks first whether it is
    there, within the same call.

    Args:
        config: attempts, pauses and the longest wait.
    """

    def __init__(self, config: BackendConfig) -> None:
        self._config = config

    def __call__(self, doing: str, call: Callable[[], T]) -> T:
        """Return what `call` returns.

        Args:
            doing: in words, for the message ("list the runs").
            call: may raise `kfp_server_api.ApiException`.

        Raises:
            TokenError: HTTP 401 or 403.
            NotFoundError: HTTP 404.
            ConflictError: HTTP 409.
            AwayError: still not answered after the last attempt.
            BackendError: refused.
        """
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        for attempt in range(1, self._config.attempts + 1):
            try:
                return call()
            except ApiException as error:
                if error.status not in (0, None) and error.status not in _BUSY:
                    raise refusal(doing, error, self._config) from error
                told = f"it answers {error.status}: {message_of(error)}"
            except (HTTPError, OSError) as error:
                told = f"{type(error).__name__}: {getattr(error, 'reason', error)}"
            if attempt < self._config.attempts:
                pause = min(self._config.pause_s * 2 ** (attempt - 1), _LONGEST_PAUSE_S)
                pause *= random.uniform(0.5, 1.5)  # noqa: S311 no secret
                logger.warning("can't %s (%s); again in %.1f s", doing, told, pause)
                time.sleep(pause)
        raise AwayError(
            f"can't {doing} at {shown(self._config)}: {told}",
            f"{self._config.attempts} attempts were made; nothing is half-done, the same command "
            "goes on when the backend is back",
        )


def shown(config: BackendConfig) -> str:
    """Return the API's address for messages."""
    return config.host or "the cluster's pipeline service"


def refusal(doing: str, error: Any, config: BackendConfig) -> BackendError:
    """Return what a refused call means, with what to do."""
    told = f"can't {doing} at {shown(config)}: {error.status}: {message_of(error)}"
    match error.status:
        case 401:
            return TokenError(
                told,
                f"the token is missing or has expired: put a fresh one into "
                f"{config.token_variable}; in a cluster, mount a projected token with audience "
                "pipelines.kubeflow.org",
            )
        case 403:
            return TokenError(
                told, "this identity may not do that in this namespace: check backend.namespace"
            )
        case 404:
            return NotFoundError(told, "check backend.host and the name")
        case 409:
            return ConflictError(told)
        case _:
            return BackendError(told)


def message_of(error: Any) -> str:
    """Return the server's own words, short."""
    body = error.body
    if isinstance(body, bytes):
        body = body.decode(errors="replace")
    try:
        answer = json.loads(body)
        text = answer.get("message") or answer.get("error") or body
    except (TypeError, ValueError, AttributeError):
        text = body or error.reason or "no reason given"
    return str(text).strip()[:300]
