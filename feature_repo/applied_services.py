"""The feature services as they were applied, and which registered models read them.

Read from the registry's rows: nothing that it carries (the functions of on-demand views) is run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from feature_repo.profile import Profile, read_profile
from recommender.config import Config
from recommender.errors import StorageError
from recommender.registry import Registry
from recommender.storage import open_store
from recommender.workspace import Workspace


@dataclass(frozen=True)
class Service:
    """What one version of a model reads.

    Attributes:
        name: as a model's artifact names it.
        description: in words.
        tags: `model`, `version`, `read` (when) …
        features: names of the features, by view.
    """

    name: str
    description: str
    tags: dict[str, str]
    features: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Reader:
    """A registered model that names a service.

    Attributes:
        version: in the model registry.
        kind: of the model.
        service: that it reads.
        role: `champion`, `candidate`, or "" for any other version.
    """

    version: str
    kind: str
    service: str
    role: str


def applied_services(
    paths: Workspace, project: str, profile: Profile | None = None
) -> list[Service]:
    """Return the services of a project, by name.

    Args:
        paths: the workspace.
        project: Feast project.
        profile: which registry; by default what the environment says.

    Raises:
        FeatureError: there is no registry, it is damaged or of another version, or it doesn't
            hold the project.
    """
    registry = (profile or read_profile()).registry_of(paths.features, read_only=True)
    registry.check(project)
    with registry.explaining(), _rows(registry.url, project) as protos:
        found = [_service(proto) for proto in protos]
    return sorted(found, key=lambda service: service.name)


def readers(config: Config) -> list[Reader]:
    """Return the registered models and the service each reads; champion and candidate first.

    Raises:
        StorageError: the model registry can't be read.
    """
    registry = Registry.configured(config)
    aliases = registry.aliases()
    roles = {aliases.candidate: "candidate", aliases.champion: "champion"}
    store = open_store(registry.location)
    found = []
    for version in registry.versions():
        key = f"models/{version}/model.json"
        try:
            described = json.loads(store.read_bytes(key))
            kind, service = str(described["kind"]), str(described["feature_service"])
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{registry.location}/{key} does not describe a model") from error
        found.append(Reader(version, kind, service, roles.get(version, "")))
    order = {"champion": 0, "candidate": 1, "": 2}
    return sorted(found, key=lambda reader: (order[reader.role], reader.version))


@contextmanager
def _rows(url: str, project: str) -> Iterator[Iterator[bytes]]:
    """Yield the stored definitions of a project's services."""
    from sqlalchemy import column, create_engine, select, table
    from sqlalchemy.pool import NullPool

    proto: Any = column("feature_service_proto")
    owner: Any = column("project_id")
    wanted = select(proto).select_from(table("feature_services", proto, owner))
    with create_engine(url, poolclass=NullPool).connect() as connection:
        yield (bytes(row[0]) for row in connection.execute(wanted.where(owner == project)))


def _service(proto: bytes) -> Service:
    from feast.protos.feast.core.FeatureService_pb2 import FeatureService

    spec: Any = FeatureService.FromString(proto).spec
    return Service(
        spec.name,
        spec.description,
        dict(sorted(spec.tags.items())),
        {
            view.feature_view_name: tuple(feature.name for feature in view.feature_columns)
            for view in spec.features
        },
    )
