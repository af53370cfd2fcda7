"""Who drives a rollout: a name that outlives the process and tells others whose canary it is."""

from __future__ import annotations

import secrets
from pathlib import Path

from recommender.errors import StorageError
from recommender.files import atomic_file


def owner_of(rollouts: Path) -> str:
    """Return the name of a workspace's rollouts; it is made up at the first call.

    Args:
        rollouts: folder of their states, which whoever goes on with one has, too.

    Raises:
        StorageError: it can't be read or written.
    """
    path = rollouts / "owner"
    try:
        if path.exists():
            return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    name = secrets.token_hex(8)
    with atomic_file(path) as temporary:
        temporary.write_text(name + "\n", encoding="utf-8")
    return name
