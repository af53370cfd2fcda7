"""`ostinato submit` and `ostinato schedule`: runs on a Kubeflow Pipelines backend."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipelines.backend.follow import Look
from pipelines.options import (
    DEFAULT,
    AsJson,
    ConfigPath,
    Setting,
    WorkspacePath,
    config_of,
    console,
)

schedule = typer.Typer(
    no_args_is_help=True,
    help="""Recurring runs on a Kubeflow Pipelines backend, as the configuration declares them.

    [bold]backend.schedules[/] names them, each with a cron of six fields (seconds first). What is
    declared there is what runs: [bold]diff[/] shows the difference, [bold]apply[/] removes it.
    """,
)

_MARKS = {"SUCCEEDED": "[green]✓[/]", "FAILED": "[red]✗[/]", "RUNNING": "[cyan]…[/]"}


def submit(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    settings: Setting = None,
    pipeline: Annotated[str, typer.Option(help="training, refresh or tuning.")] = "training",
    host: Annotated[str, typer.Option(help="In place of backend.host.")] = "",
    data: Annotated[
        str, typer.Option(help="Version of the data; by default what the source looks like.")
    ] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Run it even if the same thing was run before.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run.")] = True,
    as_json: AsJson = False,
) -> None:
    """Run a pipeline on a Kubeflow Pipelines backend, and follow it to its end.

    The same data, configuration and code are one run, however often they are submitted. The token
    comes from OSTINATO_KFP_TOKEN or, in a cluster, from the service account. Ctrl-C stops the
    following; the run goes on.

    Examples:
      ostinato submit --host https://kubeflow.example.com/pipeline
      ostinato submit -c configs/generic.yaml --no-wait --json
      ostinato submit --pipeline refresh
    """
    from pipelines.backend.connection import connect
    from pipelines.backend.follow import follow
    from pipelines.backend.submit import submit as send
    from pipelines.compile import FOLDER, PIPELINES, for_pipeline

    if pipeline not in PIPELINES:
        names = ", ".join(PIPELINES)
        raise typer.BadParameter(f"{pipeline!r} is none of {names}", param_hint="--pipeline")
    chosen = [*(settings or []), *([f"backend.host={host}"] if host else [])]
    tree, screen = for_pipeline(pipeline, config_of(config, workspace, chosen)), console()
    backend = connect(tree)
    package = FOLDER / f"{pipeline}.yaml"
    run = send(backend, tree, data=data or None, again=again, package=package)
    if as_json:
        screen.print_json(data=asdict(run))
    else:
        known = "" if run.created else " (the same thing was submitted before; not run again)"
        screen.print(f"[bold]{run.name}[/] {run.state}{known}", highlight=False, soft_wrap=True)
        screen.print(run.url, highlight=False, soft_wrap=True)
    if not wait:
        return
    try:
        follow(backend, run.run_id, Shown(Console(stderr=True) if as_json else screen))
    except KeyboardInterrupt:
        Console(stderr=True).print("no longer followed; the run goes on")
        raise typer.Exit(130) from None


class Shown:
    """Prints what is new about a run, a line for each step that changed its state.

    Args:
        screen: where it is printed.
    """

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._before: dict[str, str] = {}

    def __call__(self, look: Look) -> None:
        """Print the steps whose state changed, and the run's when it has ended."""
        for step, state in look.steps.items():
            if self._before.get(step) != state:
                told = f"  {_MARKS.get(state, '·')} {step:14} {state.lower()}"
                self._screen.print(told, highlight=False)
        self._before = look.steps
        if look.ended:
            self._screen.print(f"[bold]{look.state.lower()}[/]", highlight=False)


@schedule.command("list")
def list_(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Show the recurring runs of this data set on the backend."""
    from pipelines.backend.connection import connect
    from pipelines.backend.schedule import recurring_runs

    tree = config_of(config, workspace)
    table = Table("name", "cron", "enabled", "at once")
    for run in recurring_runs(connect(tree), tree):
        cron = run.trigger.cron_schedule.cron if run.trigger and run.trigger.cron_schedule else ""
        enabled = "yes" if run.status == "ENABLED" else "no"
        table.add_row(run.display_name.split("/")[1], cron, enabled, str(run.max_concurrency))
    console().print(table)


@schedule.command()
def diff(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Show what `apply` would change; nothing is changed."""
    from pipelines.backend.connection import connect
    from pipelines.backend.schedule import diff as compare

    tree = config_of(config, workspace)
    for change in compare(connect(tree), tree):
        console().print(f"{change.doing:8} {change.name}: {change.why}", highlight=False)


@schedule.command()
def apply(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Make the backend's recurring runs what the configuration declares."""
    from pipelines.backend.connection import connect
    from pipelines.backend.schedule import apply as bring_in_line

    tree = config_of(config, workspace)
    changes = bring_in_line(connect(tree), tree)
    for change in changes:
        console().print(f"{change.doing:8} {change.name}: {change.why}", highlight=False)
    if not changes:
        console().print("nothing to do: everything is as declared")
