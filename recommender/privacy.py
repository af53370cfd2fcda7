"""Pseudonyms: user ids outside the feature store are keyed hashes (HMAC-SHA-256)."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from recommender.errors import ConfigError
from recommender.files import atomic_file

VARIABLE = "OSTINATO_PSEUDONYM_KEY"


class Pseudonyms:
    """Turns user ids into pseudonyms; without the key they can't be guessed back.

    Args:
        key: at least 16 bytes of secret.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ConfigError(f"the pseudonym key has {len(key)} bytes; it needs 16 or more")
        self._key = key

    def of(self, user_id: str) -> str:
        """Return the pseudonym of one user: 32 hex digits."""
        return hmac.new(self._key, user_id.encode(), hashlib.sha256).hexdigest()[:32]

    def derived(self, purpose: str, text: str = "") -> str:
        """Return 16 hex digits that follow from the key, a purpose and a text.

        Without the key they can't be brought together with the pseudonym of the same text, nor
        with what another purpose gives.
        """
        told = f"{purpose}\0{text}".encode()
        return hmac.new(self._key, told, hashlib.sha256).hexdigest()[:16]

    def secret(self, purpose: str) -> bytes:
        """Return 32 bytes of secret for one purpose; no other purpose's can be told from them."""
        return hmac.new(self._key, f"secret\0{purpose}".encode(), hashlib.sha256).digest()

    def of_all(self, user_ids: Iterable[str]) -> tuple[str, ...]:
        """Return the pseudonyms of many users, in order."""
        return tuple(self.of(user) for user in user_ids)


def pseudonyms(keys: Path) -> Pseudonyms:
    """Return the pseudonyms of this installation.

    The key comes from the environment variable `OSTINATO_PSEUDONYM_KEY` (a secret on a cluster);
    without it, from a file in `keys` that is generated once and readable by its owner only.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return Pseudonyms(given.encode())
    path = keys / "pseudonym.key"
    if not path.exists():
        _create(path)
    return Pseudonyms(path.read_bytes())


def _create(path: Path) -> None:
    """Make the key, unless somebody else does in the same moment: then theirs holds."""
    own = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with atomic_file(own) as temporary:
        temporary.write_text(secrets.token_hex(32), encoding="ascii")
        temporary.chmod(0o600)
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(own)
    own.unlink()
