"""Which model servers get which share of which traffic: `routes.json`, read and written whole.

Two lanes: `live` is what people are served from; `rehearsal` is where a candidate meets replayed
requests. Nothing that happens in the rehearsal lane touches the live one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recommender.errors import ServingError, StorageError
from recommender.files import read_json, write_json

LIVE = "live"
REHEARSAL = "rehearsal"
LANES = (LIVE, REHEARSAL)


@dataclass(frozen=True)
class Arm:
    """One model server in a lane.

    Attributes:
        url: `http://host:port`, without a path.
        version: of the model it serves; also what its share of the users is derived from, so
            that a server may move to another port without moving its users.
        weight: its share, relative to the other arms of the lane; with 0 it is asked only where
            every other arm of the live lane is down.
    """

    url: str
    version: str
    weight: float = 100.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")) or self.url.endswith("/"):
            raise ServingError(f"{self.url!r} is not the base URL of a model server")
        if not math.isfinite(self.weight) or self.weight < 0:
            raise ServingError(f"{self.version}: the weight {self.weight} is not a share")


@dataclass(frozen=True)
class Shadow:
    """A model server that answers a copy of the live traffic, to nobody.

    Attributes:
        url: `http://host:port`, without a path.
        version: of the model it serves.
        percent: of the users whose requests are copied.
        queue: copies that may wait or be under way; the rest is not copied.
    """

    url: str
    version: str
    percent: float = 100.0
    queue: int = 64


@dataclass(frozen=True)
class Routes:
    """The arms of both lanes.

    Attributes:
        live: what people are served from; while a rollout splits it, the stable arm is the first.
        rehearsal: what replayed requests go to.
        salt: changes who is in which share, for all lanes.
        shadow: who gets a copy of the live traffic, None for nobody.
    """

    live: tuple[Arm, ...] = ()
    rehearsal: tuple[Arm, ...] = ()
    salt: str = ""
    shadow: Shadow | None = None

    @property
    def canary_percent(self) -> float:
        """The share of the live lane that the stable arm, its first, does not get."""
        total = sum(arm.weight for arm in self.live)
        return 100 - 100 * self.live[0].weight / total if total else 0.0

    def __post_init__(self) -> None:
        for name in LANES:
            arms = self.lane(name)
            if arms and not any(arm.weight > 0 for arm in arms):
                raise ServingError(f"no arm of lane {name!r} has a weight above 0")
            versions = [arm.version for arm in arms]
            if len(set(versions)) != len(versions):
                raise ServingError(f"lane {name!r} names a version twice: {', '.join(versions)}")

    def lane(self, name: str) -> tuple[Arm, ...]:
        """Return the arms of a lane."""
        return self.live if name == LIVE else self.rehearsal

    def with_lane(self, name: str, arms: Iterable[Arm]) -> Routes:
        """Return the routes with other arms in one lane.

        Raises:
            ServingError: no such lane, a version twice, or no weight above 0.
        """
        if name not in LANES:
            raise ServingError(f"there is no lane {name!r}; there are {' and '.join(LANES)}")
        if name == LIVE:
            return replace(self, live=tuple(arms))
        return replace(self, rehearsal=tuple(arms))


def read(path: Path) -> Routes:
    """Read the routes; a file that isn't there yet means that nothing is served.

    Raises:
        ServingError: the file is no valid set of routes.
    """
    if not path.exists():
        return Routes()
    try:
        found: dict[str, Any] = read_json(path)
        lanes = {name: tuple(Arm(**arm) for arm in found["lanes"].get(name, ())) for name in LANES}
        shadow = Shadow(**found["shadow"]) if found.get("shadow") else None
        return Routes(salt=str(found.get("salt", "")), shadow=shadow, **lanes)
    except (StorageError, KeyError, TypeError, AttributeError) as error:
        raise ServingError(f"{path} holds no valid routes: {error}") from error


def write(path: Path, routes: Routes) -> None:
    """Write the routes, atomically; the router takes them up with the next request.

    Raises:
        StorageError: the file can't be written; the old routes hold.
    """
    lanes = {name: [asdict(arm) for arm in routes.lane(name)] for name in LANES}
    shadow = asdict(routes.shadow) if routes.shadow else None
    write_json(path, {"lanes": lanes, "salt": routes.salt, "shadow": shadow})
