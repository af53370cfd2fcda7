"""Checks whether this machine can run the pipeline, and says what to do where it can't."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from importlib import metadata

from rich.console import Console

from recommender.config import Config

_PACKAGES = ("kfp", "torch", "feast", "kserve", "pandas", "great-expectations", "boto3")
_OPTIONAL = {
    "redis-server": "tests of the Redis online store",
    "chromium": "tests that look at the reports in a browser",
    "kubectl": "manifests of the cluster",
}
_DISK_GB = 3


def examine(config: Config, console: Console) -> bool:
    """Print one line per check; return whether all that is needed is there."""
    good = True
    for name, problem in _checks(config):
        good &= not problem
        mark = "[green]ok[/]  " if not problem else "[red]no[/]  "
        console.print(f"{mark}{name}" + (f": {problem}" if problem else ""), highlight=False)
    for program, use in _OPTIONAL.items():
        if shutil.which(program):
            console.print(f"[green]ok[/]  {program}", highlight=False)
        else:
            console.print(f"[yellow]–[/]   {program} is not here (only {use})", highlight=False)
    return good


def _checks(config: Config) -> Iterator[tuple[str, str]]:
    """Yield each check's name and what is wrong, empty where nothing is."""
    version = ".".join(map(str, sys.version_info[:3]))
    suits = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield f"Python {version}", "" if suits else "needs Python 3.11 or 3.12"
    for package in _PACKAGES:
        try:
            yield f"{package} {metadata.version(package)}", ""
        except metadata.PackageNotFoundError:
            yield package, "not installed; run `make setup`"
    cores = os.cpu_count() or 1
    yield f"{cores} cores", "" if cores >= 2 else "one core works, but takes twice as long"
    root = config.paths.root
    parent = next(p for p in (root, *root.parents) if p.exists())
    free = shutil.disk_usage(parent).free / 1e9
    yield f"{free:.0f} GB free at {parent}", "" if free > _DISK_GB else f"needs {_DISK_GB} GB"
    yield f"{parent} can be written", "" if os.access(parent, os.W_OK) else "choose --workspace"
    yield _port(config)


def _port(config: Config) -> tuple[str, str]:
    serving = config.serving
    name = f"port {serving.port} on {serving.host}"
    if (config.paths.serving / "routes.json").exists():
        return f"{name} is this workspace's endpoint", ""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((serving.host, serving.port))
        except OSError as error:
            return name, f"{error.strerror}; set serving.port in the configuration"
    return f"{name} is free", ""
