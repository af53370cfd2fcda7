"""What a person wants to know when a run is over, told from the step records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.run import Run

_ITEMS = 5
"""Items shown of each example."""


def print_summary(run: Run, console: Console, ask_again: str) -> None:
    """Print what was validated, how good the model is, what was decided and what is served.

    Args:
        run: a run that succeeded.
        console: where to print.
        ask_again: the command that asks the served endpoint; `USER` stands for a user id.
    """
    told = {name: record["summary"] for name, record in run.steps.items()}
    console.print()
    for heading, lines in (
        ("Data", _data(told)),
        ("Model", _model(told)),
        ("Gate", _gate(told)),
        ("Canary", _canary(told)),
    ):
        console.print(f"[bold]{heading}[/]")
        for line in lines:
            console.print(f"  {line}", highlight=False, soft_wrap=True)
    deployed = told.get("deploy", {})
    if deployed.get("steps"):
        console.print(_steps(deployed["steps"]))
    examples = deployed.get("examples") or []
    for example in examples:
        console.print(f"\n[bold]For user {example['user_id']}[/]")
        for item in example["items"][:_ITEMS]:
            console.print(f"  {item['score']:7.3f}  {item['title']}", highlight=False)
    console.print("\n[bold]Reports[/]")
    for path in sorted(run.folder.glob("*.html")) + sorted(run.folder.glob("*.png")):
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    if examples:
        command = ask_again.replace("USER", examples[0]["user_id"])
        console.print(f"\n[bold]Ask again[/]\n  {command}", highlight=False, soft_wrap=True)
    console.print(f"\nDone in {run.seconds:.0f} s (run {run.run_id}).", highlight=False)


def _data(told: dict[str, Any]) -> Iterator[str]:
    ingest, validate = told.get("ingest", {}), told.get("validate", {})
    yield f"version {ingest.get('data_version')}" + (
        " (unchanged)" if ingest.get("unchanged") else ""
    )
    rows = validate.get("rows_out", {})
    yield ", ".join(f"{count:,} {table}" for table, count in rows.items()) or "no rows"
    yield (
        f"{validate.get('passed', 0)} of {validate.get('expectations', 0)} expectations hold, "
        f"{validate.get('warnings', 0)} warnings"
    )
    if features := told.get("materialize", {}).get("features"):
        yield (
            f"{features['passed']} of {features['expectations']} expectations of features hold, "
            f"{len(features['warned'])} warnings"
        )
    for warning in told.get("materialize", {}).get("warnings", []):
        yield f"[yellow]warning[/]: {escape(warning)}"


def _model(told: dict[str, Any]) -> Iterator[str]:
    evaluated = told.get("evaluate", {})
    scores = evaluated.get("ndcg@10", {})
    yield "NDCG@10  " + "   ".join(
        f"{name} {value:.4f}" for name, value in scores.items() if value is not None
    )
    yield f"over {evaluated.get('users', 0):,} users of the test window"
    if refreshed := told.get("refresh"):
        yield (
            f"refreshed from {refreshed['from']}: {refreshed['recent']:,} moments since, "
            f"{refreshed['replayed']:,} earlier ones again, {refreshed['new_items']:,} items new"
        )


def _gate(told: dict[str, Any]) -> Iterator[str]:
    gate = told.get("gate", {})
    colour = {"pass": "green", "fail": "red"}.get(gate.get("verdict", ""), "yellow")
    yield f"[{colour}]{gate.get('verdict', 'not reached')}[/]"
    for reason in gate.get("reasons", []):
        yield f"{reason['verdict']:<12} {reason['rule']}: {reason['reason']}"


def _canary(told: dict[str, Any]) -> Iterator[str]:
    deployed = told.get("deploy")
    if not deployed:
        yield "nothing was deployed; what was served before still is"
        return
    outcome = _OUTCOMES[deployed["outcome"]]
    yield f"{outcome}; champion is {deployed['champion']} at {deployed['endpoint']}"
    yield from escape(deployed["reason"]).splitlines()
    if left_out := deployed.get("left_out"):
        steps = ", ".join(f"{percent} %" for percent in left_out)
        yield f"left out for want of held-out users: {steps}"


_OUTCOMES = {
    "promoted": "[green]promoted[/]",
    "rolled_back": "[red]rolled back[/]: the candidate did not win its place",
    "unchanged": "unchanged",
}

_FIGURES = (("users", "d"), ("errors", "d"), ("p95_ms", ".0f"), ("hit_rate", ".3f"))
"""What is shown of both arms, and how."""


def _steps(steps: list[dict[str, Any]]) -> Table:
    table = Table("share", "users", "errors", "p95", "hit rate", "verdict", box=None, pad_edge=True)
    for step in steps:
        arms = [
            " / ".join(_figure(step.get(key, {}).get(arm), form) for arm in ("stable", "candidate"))
            for key, form in (
                ("users", "d"),
                ("errors", "d"),
                ("p95_ms", ".0f"),
                ("hit_rate", ".3f"),
            )
        ]
        table.add_row(f"{step['percent']} %", *arms, f"{step['verdict']}")
    return table


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(int(value) if form == "d" else value, form)
