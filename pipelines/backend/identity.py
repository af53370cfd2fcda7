"""What makes a run the same run: its data, its configuration, its code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pipelines.backend.step_resources import uploaded
from pipelines.compile import COMPILED
from recommender.config import Config
from recommender.config.source import SyntheticSource
from recommender.errors import SourceError
from recommender.storage import is_s3, local_path, open_store


def code_version(config: Config, compiled: Path = COMPILED) -> str:
    """Return a short hash of the pipeline as it is uploaded, which names every image.

    Args:
        config: the whole configuration.
        compiled: the compiled pipeline.

    Raises:
        ConfigError: as for `uploaded`.
    """
    return hashlib.sha256(uploaded(compiled, config).encode()).hexdigest()[:12]


def source_version(config: Config) -> str:
    """Return a short hash that changes when the raw data do, without reading them.

    Objects in S3 and files count by name, size and their mark (ETag; time of change); a download
    by its URL; a generated source by the seed.

    Raises:
        SourceError: nothing lies at a location.
        StorageError: S3 refuses or can't be reached.
    """
    source = config.source
    if isinstance(source, SyntheticSource):
        told: list[object] = [config.seed]
    else:
        told = [[location, _marks(location)] for location in locations_of(config)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def locations_of(config: Config) -> tuple[str, ...]:
    """Return every location that the source reads, sorted."""
    return tuple(sorted(_locations(config.source.model_dump(mode="json"))))


def idempotency_key(config: Config, data: str | None = None, package: Path = COMPILED) -> str:
    """Return the name that two submissions of the same thing share.

    Args:
        config: the whole configuration. Where it is sent, and what starts it, doesn't count,
            but its images do, and what its pods ask for.
        data: version of the data, if the caller knows it; else that of the source.
        package: the compiled pipeline.
    """
    settings = config.model_dump(mode="json", exclude={"backend", "triggers", "workspace"})
    told = json.dumps(
        [settings, data or source_version(config), code_version(config, package)],
        sort_keys=True,
    )
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _locations(tree: object) -> set[str]:
    """Return every value of a key that is called `location`, at any depth."""
    if isinstance(tree, dict):
        found = {str(v) for k, v in tree.items() if k == "location" and isinstance(v, str) and v}
        return found.union(*(_locations(value) for value in tree.values()))
    if isinstance(tree, list):
        return set().union(*(_locations(value) for value in tree))
    return set()


def _marks(location: str) -> list[list[object]]:
    if location.startswith(("http://", "https://")):
        return []
    if is_s3(location):
        bucket, _, prefix = location.rstrip("/").removeprefix("s3://").partition("/")
        store = open_store(f"s3://{bucket}")
        alone = store.stat(prefix) if prefix else None
        entries = [alone] if alone else list(store.list(prefix))
        if not entries:
            raise SourceError(f"nothing lies at {location}", "check source.…location")
        return [[entry.key, entry.size, entry.mark] for entry in entries]
    path = local_path(location)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    if not files:
        raise SourceError(f"nothing lies at {location}", "check source.…location")
    return [[str(f), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
