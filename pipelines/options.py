"""What the commands have in common: which data set, which workspace, where to print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from recommender.config import Config, load

DEFAULT = Path("configs/synthetic.yaml")

ConfigPath = Annotated[
    Path,
    typer.Option("--config", "-c", help="The data set's YAML; configs/generic.yaml explains all."),
]
WorkspacePath = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", help="Folder for all state; default .ostinato/<name>."),
]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one setting: --set training.epochs=3 (repeatable)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print plain JSON.")]


def console() -> Console:
    """Return a console on standard output as it is now: while a pipeline runs, it is its log."""
    return Console(file=sys.stdout)


def config_of(path: Path, workspace: Path | None, settings: list[str] | None = None) -> Config:
    """Read the configuration that a command was given.

    Args:
        path: of the YAML file.
        workspace: in place of the configured one, if given.
        settings: `key=value`, each in place of the file's.

    Raises:
        ConfigError: the file, a key or a value is wrong.
        typer.BadParameter: a setting is not `key=value`.
    """
    overrides: dict[str, Any] = {}
    for setting in settings or []:
        key, sign, value = setting.partition("=")
        if not sign:
            raise typer.BadParameter(f"{setting!r} is not key=value", param_hint="--set")
        overrides[key] = yaml.safe_load(value)
    if workspace is not None:
        overrides["workspace"] = str(workspace)
    return load(path, overrides)
