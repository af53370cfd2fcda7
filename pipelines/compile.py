"""Compiles the pipelines to the YAML that is committed and that a KFP backend runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from recommender.errors import ConfigError
from recommender.files import atomic_file

COMPILED = Path(__file__).parent / "compiled" / "training.yaml"


def compiled() -> str:
    """Return the training pipeline as KFP v2 YAML; the same code gives the same bytes."""
    from kfp import compiler

    from pipelines.training import training

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.yaml"
        compiler.Compiler().compile(training, str(path))
        return path.read_text(encoding="utf-8")


def write(path: Path = COMPILED) -> Path:
    """Compile into `path`."""
    text = compiled()
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
    return path


def check(path: Path = COMPILED) -> None:
    """Make sure that the committed YAML is what the code compiles to.

    Raises:
        ConfigError: it isn't.
    """
    if not path.exists() or path.read_text(encoding="utf-8") != compiled():
        raise ConfigError(
            f"{path} is not what the pipeline compiles to", "run `make compile` and commit the file"
        )
