"""What a search for settings has found, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.run import Run
from recommender.files import read_json

SHOWN = 10


def show(run: Run, screen: Console, again: str) -> None:
    """Print the best trials, and how to take over the best one.

    Args:
        run: of the tuning pipeline.
        screen: where it is printed.
        again: the command that runs the pipeline, to which settings are added.
    """
    told = read_json(run.folder / "tuning.json")
    best = told["best"]
    table = Table("trial", "NDCG@10", "epochs", "state", *best["settings"], box=None)
    ranked = sorted(told["trials"], key=lambda each: (-(each["value"] or 0.0), each["number"]))
    for each in ranked[:SHOWN]:
        value = "–" if each["value"] is None else f"{each['value']:.4f}"
        tried = [_short(each["settings"].get(key)) for key in best["settings"]]
        table.add_row(str(each["number"]), value, str(each["epochs"]), each["state"], *tried)
    screen.print(table)
    pruned = sum(each["state"] == "pruned" for each in told["trials"])
    numbers = [each["number"] for each in told["trials"] if each.get("configured")]
    which = f"trial {numbers[0]} is the configured one" if numbers else "none is the configured one"
    screen.print(
        f"{len(told['trials'])} trials of {told['study']}, {pruned} ended early; {which}, by "
        "NDCG@10 of the validation window",
        highlight=False,
    )
    words = " ".join(f"--set {key}={value}" for key, value in best["settings"].items())
    screen.print(f"Take over\n  {again} {words}", highlight=False, soft_wrap=True)
    screen.print(f"or what {_shown(run.folder / 'best.yaml')} holds", highlight=False)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
