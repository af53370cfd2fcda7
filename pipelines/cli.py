"""The `ostinato` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipelines.asking import everybody, recommend
from pipelines.backend.app import schedule, submit
from pipelines.features.app import app as features
from pipelines.options import (
    DEFAULT,
    AsJson,
    ConfigPath,
    Setting,
    WorkspacePath,
    config_of,
    console,
)
from pipelines.rollout import app as rollout
from pipelines.stream import app as stream
from pipelines.triggers.app import app as trigger
from recommender.errors import UserError

if TYPE_CHECKING:
    from pipelines.run import Run

app = typer.Typer(
    name="ostinato",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Take an event log and a catalogue; keep a recommender that reads time in production.

    Start with [bold]ostinato run[/]: it validates the data, trains, compares with what is served
    and, if the new model deserves it, puts it behind a KServe endpoint by a canary. Then
    [bold]ostinato recommend USER[/] asks that endpoint.
    """,
)

app.add_typer(features, name="features")
app.add_typer(stream, name="stream")
app.add_typer(rollout, name="rollout")
app.add_typer(schedule, name="schedule")
app.add_typer(trigger, name="trigger")


@app.command()
def run(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    settings: Setting = None,
    run_id: Annotated[str, typer.Option(hidden=True, help="Names the run.")] = "",
) -> None:
    """Run the whole pipeline on this machine, to a served, canaried recommendation.

    Examples:
      ostinato run
      ostinato run -c configs/movielens-small.yaml
      ostinato run --set training.epochs=3 --set seed=11
    """
    _run(config, workspace, settings, run_id, "training")


def _run(
    config: Path, workspace: Path | None, settings: list[str] | None, run_id: str, pipeline: str
) -> None:
    from pipelines.summary import print_summary

    ended = _ended(config, workspace, settings, run_id, pipeline)
    print_summary(ended, console(), f"{_me()} recommend USER{_again(config, workspace)}")


def _ended(
    config: Path, workspace: Path | None, settings: list[str] | None, run_id: str, pipeline: str
) -> Run:
    """Run a pipeline here, to its end."""
    from pipelines.compile import for_pipeline
    from pipelines.run import run_locally

    tree, screen = for_pipeline(pipeline, config_of(config, workspace, settings)), console()
    screen.print(f"[bold]{tree.name}[/] → {tree.paths.root}", highlight=False)
    try:
        return run_locally(tree, screen, run_id or None, pipeline)
    except KeyboardInterrupt:  # Typer would end without a word
        Console(stderr=True).print("interrupted; run the same command again to go on")
        raise typer.Exit(130) from None


@app.command()
def refresh(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    settings: Setting = None,
    run_id: Annotated[str, typer.Option(hidden=True, help="Names the run.")] = "",
) -> None:
    """Let the model in production learn what happened since, at a fraction of a training's cost.

    It has to win its place by the same gate and canary as one that was trained anew.

    Examples:
      ostinato refresh
      ostinato refresh --set refresh.method=lora
    """
    _run(config, workspace, settings, run_id, "refresh")


@app.command()
def tune(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    settings: Setting = None,
    run_id: Annotated[str, typer.Option(hidden=True, help="Names the run.")] = "",
) -> None:
    """Search the settings with which the model learns most, many at a time.

    What is tried is in [bold]tuning.space[/]. Nothing is registered or served. The study stays: the
    same command with more trials goes on with it.

    Examples:
      ostinato tune --set tuning.trials=40 --set tuning.workers=4
    """
    from pipelines.tuned import show

    ended = _ended(config, workspace, settings, run_id, "tuning")
    show(ended, console(), f"{_me()} run{_again(config, workspace)}")


app.command()(recommend)
app.command()(everybody)


@app.command()
def bench(
    systems: Annotated[
        list[str] | None,
        typer.Argument(help="`unified` and rivals; default: unified and the classics."),
    ] = None,
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    settings: Setting = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the whole table as JSON: all metrics with their intervals."),
    ] = None,
) -> None:
    """Train the model and its rivals alike, and print who finds what at which cost.

    The same split, requests and full ranking for all of them. Nothing is registered or served.
    In a pipe or a file the table is Markdown; --out writes all that was measured.

    Examples:
      ostinato bench
      ostinato bench > table.md
      ostinato bench unified popularity item-knn -c configs/movielens-small.yaml --out bench.json
    """
    from pipelines import bench as bench_of

    tree = config_of(config, workspace, settings)
    bench_of.run(tree, systems or bench_of.CLASSICS, console(), out)


@app.command()
def serve(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Start (or find running) the endpoint with the current champion, after a reboot say."""
    from serving.endpoint import serve as start

    url = start(config_of(config, workspace))
    console().print(f"serving at {url}", highlight=False)


@app.command()
def stop(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Stop the endpoint and every model server of this workspace."""
    from serving.endpoint import stop as end

    end(config_of(config, workspace))
    console().print("stopped")


@app.command()
def status(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Show the champion, what is served, how fresh the features are, and the last runs."""
    from pipelines.status import show

    show(config_of(config, workspace), console())


@app.command()
def simulate(
    people: Annotated[int, typer.Option(help="Simulated people.", min=500)] = 4000,
    days: Annotated[int, typer.Option(help="Days that both policies serve.", min=35)] = 112,
    seed: Annotated[int, typer.Option(help="Of the world and of chance.")] = 7,
    out: Annotated[Path, typer.Option(help="Folder for the page and its figures.")] = Path(
        ".ostinato/long-term"
    ),
) -> None:
    """Show what a policy does to people over months, in a world whose truth is known.

    Two policies, the estimators that real logs are judged by, and generations of a model that
    feeds on its own clicks; a page for people and its figures as JSON.
    """
    from recommender.evaluation.long_term.page import write
    from recommender.evaluation.long_term.study import study

    page = write(out, study(people, days, seed))
    console().print(f"{page}", highlight=False)


@app.command()
def forget(
    user: Annotated[str, typer.Argument(help="A user id of the data set.")],
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    also: Annotated[
        list[str] | None,
        typer.Option("--also", help="Another place with copies: a folder or s3:// (repeatable)."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    suppress: Annotated[
        bool, typer.Option("--suppress", help="Keep the id out even if nothing of it is found.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Only look; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a user from everything, keep them out, and prove it.

    Stores, data versions, artifacts, evaluation sets, logs and caches are gone through; models that
    saw the user are marked for retraining; then everything is searched again. Killed in the middle,
    the same command finishes the work.
    """
    from pipelines.forget.show import run as act
    from pipelines.forget.show import verify as look

    tree, screen = config_of(config, workspace), console()
    if verify:
        look(tree, user, also or (), screen)
        return
    act(tree, user, screen, also=also or (), yes=yes, suppress=suppress, as_json=as_json)


app.command()(submit)


@app.command("compile")
def compile_(
    check: Annotated[
        bool, typer.Option("--check", help="Only make sure that the committed file is current.")
    ] = False,
) -> None:
    """Compile the pipelines to the KFP v2 YAML that a cluster runs."""
    from pipelines.compile import FOLDER, PIPELINES, write
    from pipelines.compile import check as verify

    for name in PIPELINES:
        path = FOLDER / f"{name}.yaml"
        if check:
            verify(path)
        else:
            console().print(f"wrote {write(path)}", highlight=False)
    if check:
        console().print("the compiled pipelines are current")


@app.command()
def doctor(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Check this machine: Python, packages, disk, port, optional programs. Changes nothing."""
    from pipelines.doctor import examine

    if not examine(config_of(config, workspace), console()):
        raise typer.Exit(1)


def _me() -> str:
    """Return how this very command was called, short enough to be typed again."""
    called = Path(sys.argv[0])
    try:
        return str(called.absolute().relative_to(Path.cwd()))
    except ValueError:
        return "ostinato"


def _again(config: Path, workspace: Path | None) -> str:
    words = "" if config == DEFAULT else f" --config {config}"
    return words + ("" if workspace is None else f" --workspace {workspace}")


def main() -> None:
    """Run the command; a user's mistake ends with a message and status 1, without a trace."""
    try:
        app()
    except UserError as error:
        Console(stderr=True).print(f"[red]error:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
