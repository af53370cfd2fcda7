"""The `ostinato` command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from recommender.config import Config, load
from recommender.errors import UserError

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
DEFAULT = Path("configs/synthetic.yaml")


def _console() -> Console:
    # The file is bound now: while a pipeline runs, sys.stdout is its log.
    return Console(file=sys.stdout)


def _config(path: Path, workspace: Path | None, settings: list[str] | None = None) -> Config:
    overrides: dict[str, Any] = {}
    for setting in settings or []:
        key, sign, value = setting.partition("=")
        if not sign:
            raise typer.BadParameter(f"{setting!r} is not key=value", param_hint="--set")
        overrides[key] = yaml.safe_load(value)
    if workspace is not None:
        overrides["workspace"] = str(workspace)
    return load(path, overrides)


@app.command()
def run(
    config: ConfigPath = DEFAULT, workspace: WorkspacePath = None, settings: Setting = None
) -> None:
    """Run the whole pipeline on this machine, to a served, canaried recommendation.

    Examples:
      ostinato run
      ostinato run -c configs/movielens-small.yaml
      ostinato run --set training.epochs=3 --set seed=11
    """
    from pipelines.run import run_locally
    from pipelines.summary import print_summary

    tree, console = _config(config, workspace, settings), _console()
    console.print(f"[bold]{tree.name}[/] → {tree.paths.root}", highlight=False)
    try:
        ended = run_locally(tree, console)
    except KeyboardInterrupt:  # Typer would end without a word
        Console(stderr=True).print("interrupted; run the same command again to go on")
        raise typer.Exit(130) from None
    print_summary(ended, console, f"{_me()} recommend USER{_again(config, workspace)}")


@app.command()
def recommend(
    user: Annotated[str, typer.Argument(help="A user id of the data set.")],
    k: Annotated[int, typer.Option("-k", help="How many items.", min=1, max=1000)] = 10,
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the endpoint's answer.")] = False,
) -> None:
    """Ask the served endpoint what to recommend to a user.

    The history comes from the Feast online store, inside the endpoint.
    """
    from serving.endpoint import ask

    answer = ask(_config(config, workspace), user, k)
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    console = _console()
    origin = f"from {answer['history']} events of history"
    if answer.get("fallback"):
        origin = f"fallback: {answer['fallback']}"
    console.print(f"[bold]{user}[/], {origin}, model {answer['model_version']}", highlight=False)
    for rank, item in enumerate(answer["items"], 1):
        title = item.get("title") or item["item_id"]
        console.print(f"{rank:3}. {item['score']:8.3f}  {title}", highlight=False)


@app.command()
def features(
    user: Annotated[str, typer.Argument(help="A user id of the data set.")],
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain JSON.")] = False,
) -> None:
    """Show what the Feast online store knows of a user: exactly what the model reads."""
    from pipelines.show_features import show

    show(_config(config, workspace), user, _console(), as_json=as_json)


@app.command()
def serve(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Start (or find running) the endpoint with the current champion, after a reboot say."""
    from serving.endpoint import serve as start

    url = start(_config(config, workspace))
    _console().print(f"serving at {url}", highlight=False)


@app.command()
def stop(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Stop the endpoint and every model server of this workspace."""
    from serving.endpoint import stop as end

    end(_config(config, workspace))
    _console().print("stopped")


@app.command()
def status(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Show the champion, what is served, how fresh the features are, and the last runs."""
    from pipelines.status import show

    show(_config(config, workspace), _console())


@app.command("compile")
def compile_(
    check: Annotated[
        bool, typer.Option("--check", help="Only make sure that the committed file is current.")
    ] = False,
) -> None:
    """Compile the pipeline to the KFP v2 YAML that a cluster runs."""
    from pipelines.compile import check as verify
    from pipelines.compile import write

    if check:
        verify()
        _console().print("the compiled pipeline is current")
    else:
        _console().print(f"wrote {write()}", highlight=False)


@app.command()
def doctor(config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Check this machine: Python, packages, disk, port, optional programs. Changes nothing."""
    from pipelines.doctor import examine

    if not examine(_config(config, workspace), _console()):
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
