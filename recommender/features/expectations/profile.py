"""What is remembered of a run's features, so that the next run can be compared with it.

`accepted_profile.json` beside the stores holds the profile of the last accepted run and the one
before it, so that judging the same features again gives the same verdict as the first time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recommender.config import Config
from recommender.errors import StorageError
from recommender.features.expectations import columns
from recommender.features.expectations.distribution import Distribution
from recommender.features.expectations.figures import figures, mix
from recommender.files import read_json, write_json

NAME = "accepted_profile.json"
_REMEDY = "delete it to start over; the next run is then compared with nothing"


@dataclass(frozen=True)
class ViewProfile:
    """One view of one run.

    Attributes:
        rows: in its snapshot.
        missing: share of rows in which a column says nothing, by column.
        figures: distributions by name.
        mix: event types and how often each occurs; empty where there are none.
        encoders: names of the encoders of its vectors, by column.
    """

    rows: int
    missing: dict[str, float]
    figures: dict[str, Distribution]
    mix: dict[str, int]
    encoders: dict[str, str]

    @classmethod
    def of(cls, view: str, table: pa.Table, as_of_ms: int, bins: int) -> ViewProfile:
        """Take the profile of a snapshot."""
        missing = {
            name: float(np.mean(columns.missing(table[name]))) if table.num_rows else 0.0
            for name in table.column_names
            if name not in ("as_of", "event_timestamp", "created")
        }
        made = {name: Distribution.of(v, bins) for name, v in figures(view, table, as_of_ms)}
        encoders = {
            name: table[name][0].as_py() or ""
            for name in table.column_names
            if table.num_rows and (name == "encoder" or name.startswith("encoder_"))
        }
        known = {name: each for name, each in made.items() if each is not None}
        return cls(table.num_rows, missing, known, mix(view, table), encoders)


@dataclass(frozen=True)
class Profile:
    """Every view of one run; holds no ids.

    Attributes:
        version: of the features: data version and a hash of the settings that shape them.
        data_version: of the canonical tables.
        as_of_ms: UTC milliseconds.
        made_at: UTC, ISO 8601.
        views: by name.
    """

    version: str
    data_version: str
    as_of_ms: int
    made_at: str
    views: dict[str, ViewProfile]

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Profile:
        """Read what `to_dict` wrote.

        Raises:
            StorageError, KeyError, TypeError, AttributeError: it isn't a profile.
        """
        views = {
            name: ViewProfile(
                **{
                    **view,
                    "figures": {n: Distribution.from_dict(d) for n, d in view["figures"].items()},
                }
            )
            for name, view in value["views"].items()
        }
        return cls(**{**value, "views": views})


def features_version(config: Config, data_version: str) -> str:
    """Return the name of the features that a configuration makes of a data version."""
    shaping = {
        "features": config.features.model_dump(mode="json", exclude={"freshness", "expectations"}),
        "actions": config.actions.model_dump(mode="json"),
        "split": config.split.model_dump(mode="json"),
    }
    text = json.dumps(shaping, sort_keys=True).encode()
    return f"{data_version}/{hashlib.sha256(text).hexdigest()[:8]}"


def baseline(folder: Path, version: str) -> Profile | None:
    """Return what features are to be compared with: the last *other* accepted ones.

    Args:
        folder: `Workspace.features`.
        version: of the features that are being judged.

    Raises:
        StorageError: the record is damaged.
    """
    current, previous = _read(folder)
    return previous if current and current.version == version else current


def accept(folder: Path, profile: Profile) -> None:
    """Make a run's profile the one to compare with; call it once its features are published."""
    current, previous = _read(folder)
    if current and current.version != profile.version:
        previous = current
    write_json(
        folder / NAME,
        {"current": profile.to_dict(), "previous": previous.to_dict() if previous else None},
    )


def _read(folder: Path) -> tuple[Profile | None, Profile | None]:
    path = folder / NAME
    if not path.exists():
        return None, None
    try:
        value = read_json(path)
        pair = (value["current"], value["previous"])
        current, previous = (None if each is None else Profile.from_dict(each) for each in pair)
    except (KeyError, TypeError, AttributeError, StorageError) as error:
        raise StorageError(
            f"{path} is not a record of accepted features: {error}", _REMEDY
        ) from error
    return current, previous
