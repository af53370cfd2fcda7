"""What the errors of a Kubernetes API server mean."""

from __future__ import annotations

import json
from typing import Any

from recommender.errors import RolloutError, ServingError

_CONFLICT = 409


_BUSY = frozenset({408, 429, 500, 502, 503, 504})


class PassingError(ServingError):
    """The API server failed, throttled or was too slow: worth another try."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message, "look whether the API server can be reached, then run again")
        self.wait_s = wait_s


class ConflictError(PassingError):
    """Somebody else changed the object since it was read, or has created it."""


def refusal(what: str, error: Any, namespace: str, rights: str) -> Exception:
    """Say what an error of the API server means.

    Args:
        what: was asked, for messages.
        error: a `kubernetes.client.exceptions.ApiException`.
        namespace: that was asked about; "" for the whole cluster.
        rights: says where the rights are listed that are needed.
    """
    said, reason = _told(error)
    if error.status == _CONFLICT:
        return ConflictError(f"{what}: {said}")
    if error.status in _BUSY or error.status == 0:
        return PassingError(
            f"{what}: the API server says {error.status}: {said}", _retry_after(error)
        )
    if error.status == 401:
        return ServingError(
            f"{what}: the API server does not know who asks (401: {said})",
            "the token has expired or is of another cluster: log in again, or mount a fresh one",
        )
    # A validating webhook says 403, too; that is no matter of rights.
    if error.status == 403 and "admission webhook" not in said:
        where = f" in {namespace}" if namespace else ""
        return ServingError(
            f"{what}: not allowed{where} (403: {said})",
            rights,
        )
    return RolloutError(f"{what}: the API server refuses it ({error.status} {reason}): {said}")


def _told(error: Any) -> tuple[str, str]:
    """Return the message and the reason of a `Status`, or whatever a proxy said."""
    text = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body
    try:
        status = json.loads(text or "")
        return str(status["message"]), str(status.get("reason", error.reason))
    except (ValueError, KeyError, TypeError):
        return (text or str(error.reason))[:300], str(error.reason)


def _retry_after(error: Any) -> float:
    """Return how long the API server asks to wait, seconds."""
    try:
        return max(0.0, float((error.headers or {}).get("Retry-After", 0)))
    except ValueError:
        return 0.0
