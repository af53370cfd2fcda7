"""Compiles the pipelines to the YAML that is committed and that a KFP backend runs."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

from recommender.config import Config
from recommender.errors import ConfigError
from recommender.files import atomic_file

FOLDER = Path(__file__).parent / "compiled"
PIPELINES = {
    "training": "pipelines.training:training",
    "refresh": "pipelines.refresh:refresh",
    "tuning": "pipelines.tuning:tuning",
}
"""Where the pipeline of each name lives; its YAML is `<name>.yaml`."""

COMPILED = FOLDER / "training.yaml"


def pipeline(name: str) -> Any:
    """Return the pipeline of a name, as KFP made it."""
    module, function = PIPELINES[name].split(":")
    return getattr(importlib.import_module(module), function)


def for_pipeline(name: str, config: Config) -> Config:
    """Return the configuration that a pipeline is run with."""
    return config.with_one_cut() if name == "refresh" else config


def compiled(name: str = "training") -> str:
    """Return a pipeline as KFP v2 YAML; the same code gives the same bytes."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline(name), str(path))
        return path.read_text(encoding="utf-8")


def write(path: Path = COMPILED) -> Path:
    """Compile the pipeline that a file is named after into the file."""
    text = compiled(path.stem)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
    return path


def check(path: Path = COMPILED) -> None:
    """Make sure that a committed YAML is what the code compiles to.

    Raises:
        ConfigError: it isn't.
    """
    if not path.exists() or path.read_text(encoding="utf-8") != compiled(path.stem):
        raise ConfigError(
            f"{path} is not what the pipeline compiles to", "run `make compile` and commit the file"
        )
