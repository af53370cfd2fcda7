"""Shows what each version of a model reads, and which registered models name it."""

from __future__ import annotations

import json

from rich.console import Console
from rich.markup import escape

from feature_repo.applied_services import Reader, Service, applied_services, readers
from feature_repo.locations import project_name
from recommender.config import Config

_SHOWN = 5
"""Versions named below a service; champion and candidate are always among them."""


def show(config: Config, console: Console, *, as_json: bool) -> None:
    """Print the services that were applied.

    Args:
        config: of the data set.
        console: where to print.
        as_json: print plain JSON instead.

    Raises:
        FeatureError: nothing was applied yet, or the registry can't be read.
        StorageError: the model registry can't be read.
    """
    found = applied_services(config.paths, project_name(config, "live"))
    models = readers(config)
    if as_json:
        told = [
            {
                **vars(service),
                "read_by": [vars(each) for each in models if each.service == service.name],
            }
            for service in found
        ]
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return
    for service in found:
        _show(service, [each for each in models if each.service == service.name], console)
    known = {service.name for service in found}
    for each in models:
        if each.service not in known:
            console.print(
                f"[red]{each.version} reads {escape(each.service)}, which is not applied[/]",
                highlight=False,
            )


def _show(service: Service, models: list[Reader], console: Console) -> None:
    when = service.tags.get("read", "")
    console.print(f"[bold]{escape(service.name)}[/]  {escape(when)}", highlight=False)
    console.print(f"  {escape(service.description)}", highlight=False, soft_wrap=True)
    for view, names in service.features.items():
        console.print(f"  {view}: {', '.join(names)}", highlight=False, soft_wrap=True)
    if not models:
        return
    words = [f"{each.version} ({each.kind}{_role(each)})" for each in models[:_SHOWN]]
    more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
    console.print(f"  read by {', '.join(words)}{more}", highlight=False, soft_wrap=True)


def _role(reader: Reader) -> str:
    return f", {reader.role}" if reader.role else ""
