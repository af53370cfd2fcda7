"""The pointer to the last accepted data version, with what the next one is compared with.

`accepted.json` holds the current version and the one before it, so that validating the current
version again gives the same verdict as the first time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recommender.errors import StorageError
from recommender.files import read_json, write_json
from recommender.quality.statistics import Statistics

NAME = "accepted.json"


@dataclass(frozen=True)
class Accepted:
    """One accepted data version.

    Attributes:
        data_version: as in ingest's manifest.
        accepted_at: UTC, ISO 8601.
        statistics: of its clean tables.
    """

    data_version: str
    accepted_at: str
    statistics: Statistics

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return {
            "data_version": self.data_version,
            "accepted_at": self.accepted_at,
            "statistics": self.statistics.to_dict(),
        }


def baseline(folder: Path, data_version: str) -> Accepted | None:
    """Return what `data_version` is to be compared with: the last *other* accepted version.

    Args:
        folder: `Workspace.data`.
        data_version: the version being validated.

    Raises:
        StorageError: `accepted.json` is damaged.
    """
    current, previous = _read(folder)
    return previous if current and current.data_version == data_version else current


def last_accepted(folder: Path) -> Accepted | None:
    """Return the last accepted version; None before the first.

    Args:
        folder: `Workspace.data`.

    Raises:
        StorageError: `accepted.json` is damaged.
    """
    return _read(folder)[0]


def accept(folder: Path, accepted: Accepted) -> None:
    """Make `accepted` the current version, atomically; call it only after validation passed."""
    current, previous = _read(folder)
    if current and current.data_version != accepted.data_version:
        previous = current
    write_json(
        folder / NAME,
        {
            "current": accepted.to_dict(),
            "previous": previous.to_dict() if previous else None,
        },
    )


def _read(folder: Path) -> tuple[Accepted | None, Accepted | None]:
    path = folder / NAME
    if not path.exists():
        return None, None
    value = read_json(path)
    try:
        return _of(value["current"]), _of(value["previous"])
    except (KeyError, TypeError) as error:
        raise StorageError(
            f"{path} is not a record of accepted versions: {error}",
            "delete it to start over; the next version is then compared with nothing",
        ) from error


def _of(value: dict[str, Any] | None) -> Accepted | None:
    if value is None:
        return None
    return Accepted(value["data_version"], value["accepted_at"], Statistics(**value["statistics"]))
