"""Request ids that prove which list they name: signed, expiring, and silent about the user.

    base64url(payload) . base64url(first 16 bytes of HMAC-SHA-256(key, payload))

The payload holds the moment, a random nonce, the lane, the model's version, two bytes per shown
item, and eight bytes that bind the user: a keyed hash of nonce and user id. So every replica can
check an id without having served it, two ids of one user can't be told to be of the same one
without the key, and whoever names the user can be believed.

Two bytes tell an item that was not shown with certainty 65,535 / 65,536; what slips through finds
no served row to be joined to. Only the first 100 items are told apart; of longer lists any item is
accepted here and left to the join.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from recommender.privacy import Pseudonyms

_FORMAT = 1
_HEAD = struct.Struct(">BQ8s8s")
_NONCE = _USER = 8
_MAC = 16
_TAG = 2
_TOLD_APART = 100
_LONGEST = 1024
_NOBODY = b"\0" * _USER


class InvalidRequestIdError(ValueError):
    """A request id is none of ours, or has expired; the message says which."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a request id says.

    Attributes:
        time: of the list, UTC milliseconds.
        lane: of the router.
        version: of the model.
        nonce: tells this list from every other one.
        user: binds the user; all zero for an anonymous visit.
        tags: of the shown items, two bytes each; empty: of a list too long to tell.
        whole: whether `tags` tells of all items.
    """

    time: int
    lane: str
    version: str
    nonce: bytes
    user: bytes
    tags: bytes
    whole: bool

    def shows(self, item_id: str) -> bool:
        """Tell whether the list may hold an item; a wrong yes is one in 65,536 per item."""
        if not self.whole:
            return True
        tag = _tag(item_id, self.nonce)
        return any(self.tags[at : at + _TAG] == tag for at in range(0, len(self.tags), _TAG))


class SignedIds:
    """Makes and checks request ids.

    Args:
        names: holds the key of this installation.
        expires_s: how long an id is accepted.
    """

    def __init__(self, names: Pseudonyms, expires_s: float) -> None:
        self._key = names.secret("request ids")
        self._user_key = names.secret("users of request ids")
        self._expires_ms = int(expires_s * 1000)

    def make(
        self,
        user_id: str | None,
        version: str,
        lane: str,
        items: Sequence[str],
        time_ms: int,
        nonce: bytes | None = None,
    ) -> str:
        """Return the id of a list.

        Args:
            user_id: of whoever asked; None for an anonymous visit.
            version: of the model.
            lane: of the router.
            items: that are shown.
            time_ms: of the answer, UTC milliseconds.
            nonce: eight random bytes; None: drawn here.
        """
        nonce = nonce or os.urandom(_NONCE)
        user = self._bound(nonce, user_id) if user_id is not None else _NOBODY
        whole = len(items) <= _TOLD_APART
        tags = b"".join(_tag(item, nonce) for item in items) if whole else b""
        payload = b"".join(
            [
                _HEAD.pack(_FORMAT, time_ms, nonce, user),
                _short(lane),
                _short(version),
                bytes([whole]),
                tags,
            ]
        )
        return f"{_encoded(payload)}.{_encoded(self._mac(payload))}"

    def read(self, request_id: str, now_ms: int) -> Request:
        """Check an id and return what it says.

        Args:
            request_id: from outside.
            now_ms: the present moment, UTC milliseconds.

        Raises:
            InvalidRequestIdError: it is none of ours, or has expired.
        """
        if len(request_id) > _LONGEST:
            raise InvalidRequestIdError("request_id is none of ours")
        head, _, mac = request_id.partition(".")
        try:
            payload, given = _decoded(head), _decoded(mac)
        except ValueError:
            raise InvalidRequestIdError("request_id is none of ours") from None
        # In constant time: how long the answer takes must not tell how much was right.
        if not hmac.compare_digest(given, self._mac(payload)):
            raise InvalidRequestIdError("request_id is none of ours, or was changed")
        if payload[0] != _FORMAT:
            raise InvalidRequestIdError("request_id is of a format that is no longer read")
        _, time, nonce, user = _HEAD.unpack_from(payload)
        rest = payload[_HEAD.size :]
        lane, rest = _taken(rest)
        version, rest = _taken(rest)
        if now_ms - time > self._expires_ms:
            raise InvalidRequestIdError("request_id has expired")
        return Request(time, lane, version, nonce, user, rest[1:], bool(rest[0]))

    def is_of(self, request: Request, user_id: str) -> bool:
        """Tell whether a list was made for this user."""
        return hmac.compare_digest(request.user, self._bound(request.nonce, user_id))

    def belongs(self, request_id: str, user_id: str) -> bool:
        """Tell whether an id that is stored names a list of this user, expired or not."""
        try:
            payload = _decoded(request_id.partition(".")[0])
            _, _, nonce, user = _HEAD.unpack_from(payload)
        except (ValueError, struct.error):
            return False
        return hmac.compare_digest(user, self._bound(nonce, user_id))

    def _bound(self, nonce: bytes, user_id: str) -> bytes:
        return hmac.digest(self._user_key, nonce + user_id.encode(), "sha256")[:_USER]

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_MAC]


def _tag(item_id: str, nonce: bytes) -> bytes:
    return hashlib.blake2b(item_id.encode(), digest_size=_TAG, key=nonce).digest()


def _short(text: str) -> bytes:
    data = text.encode()[:255]
    return bytes([len(data)]) + data


def _taken(data: bytes) -> tuple[str, bytes]:
    end = 1 + data[0]
    return data[1:end].decode(errors="replace"), data[end:]


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decoded(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encoded(data) != text:
        raise ValueError("not the one way to write these bytes")
    return data
