"""Which stores are meant: read from the environment when asked, never at import.

| variable | embedded (default) | production |
|---|---|---|
| `OSTINATO_PROFILE` | `embedded` | `production` |
| `OSTINATO_REDIS` | not read | online store, as Feast writes it: `host:6379,db=0,password=…` |
| `OSTINATO_REGISTRY` | not read | SQL registry: `postgresql+psycopg://user:password@host/base` |
| `OSTINATO_OFFLINE` | not read | snapshots: `s3://bucket/prefix` or an absolute folder |

Embedded needs none of them: its three stores lie in the workspace. Connection strings may hold
passwords: they appear in no `repr`, message or log.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from feature_repo.registry import Registry, embedded
from recommender.errors import ConfigError

ProfileName = Literal["embedded", "production"]

PROFILE_VARIABLE = "OSTINATO_PROFILE"
REDIS_VARIABLE = "OSTINATO_REDIS"
REGISTRY_VARIABLE = "OSTINATO_REGISTRY"
OFFLINE_VARIABLE = "OSTINATO_OFFLINE"

_FILES: dict[ProfileName, str] = {
    "embedded": "feature_store.yaml",
    "production": "production.yaml",
}
_NODE = re.compile(r"^[A-Za-z0-9._-]+:[0-9]{1,5}$")
_BUCKET = re.compile(r"^s3://[a-z0-9][a-z0-9.-]+(/[^/]+)*/?$")


@dataclass(frozen=True)
class Profile:
    """The stores of one deployment; connection strings are in no `repr`.

    Attributes:
        name: `embedded` or `production`.
        redis: Feast's connection string of the online store; None where it is embedded.
        registry: SQLAlchemy URL of the registry; None where it is embedded.
        offline: `s3://bucket/prefix` or an absolute folder of the snapshots; None where they lie
            in the workspace.
    """

    name: ProfileName
    redis: str | None = field(default=None, repr=False)
    registry: str | None = field(default=None, repr=False)
    offline: str | None = None

    @property
    def embedded(self) -> bool:
        """Whether every store is a file of the workspace."""
        return self.name == "embedded"

    @property
    def definition(self) -> Path:
        """The YAML file that Feast reads."""
        return Path(__file__).with_name(_FILES[self.name])

    def variables(self) -> dict[str, str]:
        """Return what the profile's YAML file expects in the environment, secrets included."""
        given = {
            PROFILE_VARIABLE: self.name,
            REDIS_VARIABLE: self.redis,
            REGISTRY_VARIABLE: self.registry,
            OFFLINE_VARIABLE: self.offline,
        }
        return {name: value for name, value in given.items() if value is not None}

    def registry_of(self, features: Path, *, read_only: bool = False) -> Registry:
        """Return the registry, to be looked at.

        Args:
            features: the workspace's folder of feature stores.
            read_only: whether an embedded one is opened for reading only; what an account of a
                server may do is for that server to say.
        """
        if self.registry is None:
            return embedded(features / "registry.db", read_only=read_only)
        where = urlsplit(self.registry)
        if where.scheme.startswith("sqlite"):
            return embedded(Path(where.path.removeprefix("/")), read_only=read_only)
        place = f"{where.hostname}:{where.port}" if where.port else where.hostname
        return Registry(self.registry, f"the registry {where.path.lstrip('/')} on {place}")

    def offline_location(self, features: Path, project: str) -> str:
        """Return the place of a project's snapshots: an absolute folder or an `s3://` prefix.

        Args:
            features: the workspace's folder of feature stores.
            project: Feast project.
        """
        if self.offline is None:
            return str(features.absolute() / "offline" / project)
        return f"{self.offline}/{project}"


def read_profile(environment: Mapping[str, str] | None = None) -> Profile:
    """Return the profile that the environment names.

    Args:
        environment: variables; by default those of this process, now.

    Raises:
        ConfigError: the profile's name is unknown, or a variable that it needs is missing or
            malformed. The message names the variable and never repeats its value.
    """
    given = os.environ if environment is None else environment
    name = given.get(PROFILE_VARIABLE) or "embedded"
    if name not in _FILES:
        raise ConfigError(
            f"{PROFILE_VARIABLE} is {name!r}, which is no profile", f"one of {', '.join(_FILES)}"
        )
    if name == "embedded":
        return Profile("embedded")
    return Profile(
        cast(ProfileName, name),
        redis=_redis(_needed(given, REDIS_VARIABLE)),
        registry=_registry(_needed(given, REGISTRY_VARIABLE)),
        offline=_offline(_needed(given, OFFLINE_VARIABLE)),
    )


def _needed(given: Mapping[str, str], variable: str) -> str:
    value = given.get(variable, "").strip()
    if not value:
        raise ConfigError(
            f"{variable} is not set, and the production profile needs it",
            f"set it (see feature_repo/README.md), or {PROFILE_VARIABLE}=embedded",
        )
    return value


def _redis(value: str) -> str:
    nodes = [part for part in value.split(",") if "=" not in part]
    if not nodes or not all(_NODE.match(node) for node in nodes) or _breaks_yaml(value):
        raise ConfigError(
            f"{REDIS_VARIABLE} is not a Redis connection string",
            "write host:port, then what else there is: redis:6379,db=0,ssl=true,password=…",
        )
    return value


def _registry(value: str) -> str:
    try:
        url = urlsplit(value)
        whole = bool(url.scheme and (url.hostname or url.scheme.startswith("sqlite")) and url.path)
    except ValueError:
        whole = False
    if not whole or _breaks_yaml(value):
        raise ConfigError(
            f"{REGISTRY_VARIABLE} is not the URL of a database",
            "write postgresql+psycopg://user:password@host:5432/database; "
            "signs that don't belong in a URL percent-encoded",
        )
    if url.scheme in ("postgresql", "postgres"):
        # SQLAlchemy would look for psycopg2.
        return f"postgresql+psycopg{value[len(url.scheme) :]}"
    return value


def _offline(value: str) -> str:
    if not _breaks_yaml(value) and (_BUCKET.match(value) or value.startswith("/")):
        return value.rstrip("/") or value
    raise ConfigError(
        f"{OFFLINE_VARIABLE} is no place for snapshots",
        "write s3://bucket/prefix, or the absolute path of a folder that every machine can read",
    )


def _breaks_yaml(value: str) -> bool:
    """Tell whether a value would end the double quotes between which Feast fills it in."""
    return any(sign in value for sign in '"\\\n')
