"""The compiled pipeline on the backend: uploaded once per version of the code."""

from __future__ import annotations

import contextlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.backend.calls import ConflictError
from pipelines.backend.connection import Backend
from pipelines.backend.identity import code_version
from pipelines.backend.listing import everything, named
from pipelines.backend.step_resources import uploaded
from pipelines.compile import COMPILED
from recommender.config import Config


@dataclass(frozen=True)
class PipelineVersion:
    """Ids of the backend."""

    pipeline_id: str
    version_id: str


def ensure_version(backend: Backend, config: Config, package: Path = COMPILED) -> PipelineVersion:
    """Return the version that this code is with images and resources, uploaded if need be.

    Args:
        backend: the connection.
        config: the whole configuration.
        package: the compiled pipeline.

    Raises:
        BackendError: the backend refuses or can't be reached.
        ConfigError: as for `uploaded`.
    """
    named_as = pipeline_name(backend, package)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / package.name
        file.write_text(uploaded(package, config), encoding="utf-8")
        pipeline_id = backend.calls(
            "find or upload the pipeline", lambda: _pipeline(backend, named_as, file)
        )
        version_id = backend.calls(
            "find or upload the pipeline's version",
            lambda: _version(
                backend, pipeline_id, f"{named_as}-{code_version(config, package)}", file
            ),
        )
    return PipelineVersion(pipeline_id, version_id)


def pipeline_name(backend: Backend, package: Path) -> str:
    """Return what a pipeline is called on the backend: as configured, if it is the training's."""
    return backend.config.pipeline if package.stem == COMPILED.stem else f"ostinato-{package.stem}"


def _pipeline(backend: Backend, name: str, package: Path) -> str:
    def found() -> str | None:
        listed = everything(
            lambda **page: backend.client._pipelines_api.pipeline_service_list_pipelines(
                namespace=backend.namespace, filter=named(name), **page
            ),
            "pipelines",
        )
        return str(listed[0].pipeline_id) if listed else None

    if known := found():
        return known
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a link
            uploaded: Any = backend.client.upload_pipeline(
                str(package), name, namespace=backend.namespace
            )
    except Exception as error:
        # Somebody else uploaded it in the same moment.
        if getattr(error, "status", None) == 409 and (known := found()):
            return known
        raise
    return str(uploaded.pipeline_id)


def _version(backend: Backend, pipeline_id: str, name: str, package: Path) -> str:
    def found() -> str | None:
        listed = everything(
            lambda **page: backend.client._pipelines_api.pipeline_service_list_pipeline_versions(
                pipeline_id=pipeline_id, filter=named(name), **page
            ),
            "pipeline_versions",
        )
        return str(listed[0].pipeline_version_id) if listed else None

    if known := found():
        return known
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            uploaded: Any = backend.client.upload_pipeline_version(
                str(package), name, pipeline_id=pipeline_id
            )
    except Exception as error:
        if getattr(error, "status", None) == 409:
            if known := found():
                return known
            raise ConflictError(f"{name} is taken, yet not listed") from error
        raise
    return str(uploaded.pipeline_version_id)
