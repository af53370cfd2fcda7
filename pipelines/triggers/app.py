"""`ostinato trigger`: runs that start by themselves."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.options import DEFAULT, ConfigPath, WorkspacePath, config_of, console
from pipelines.triggers.book import Book
from pipelines.triggers.cause import Cause, Kind
from pipelines.triggers.keeper import Keeper, Keeping
from pipelines.triggers.metrics import TriggerMetrics
from recommender.config import Config

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Runs that start by themselves.

    [bold]serve[/] takes CloudEvents and S3 notifications over HTTP; [bold]watch[/] needs nobody to
    send anything. Both look every [bold]triggers.check_s[/] seconds whether the source has
    changed, data have drifted or quality has fallen. What comes is written down first: the same
    event twice is one run, many events at once are one run, and a kill loses none. What is run,
    a training or a refresh, is said by [bold]triggers.{landed,drift,quality,asked}.run[/].
    """,
)


@app.command()
def serve(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8095,
) -> None:
    """Take events over HTTP (POST /events) and start runs.

    Callers bear OSTINATO_TRIGGER_TOKEN, or sign with OSTINATO_TRIGGER_SECRET (GET /status, too).
    GET /healthz and /metrics (Prometheus) are open.
    """
    import uvicorn

    from pipelines.triggers.door import make_app
    from pipelines.triggers.guard import guard_of
    from pipelines.triggers.signals import look

    tree = config_of(config, workspace)
    settings = tree.triggers
    guard = guard_of(host, settings.clock_tolerance_s, settings.per_minute)
    book = book_of(tree)
    _log()
    door = make_app(
        book,
        guard,
        1024 * settings.most_body_kib,
        lambda causes: look(causes, tree),
        TriggerMetrics(book),
        Keeping(_keeper(tree, book)),
    )
    server = uvicorn.Server(serving(door, host, port))
    server.run()
    if not server.started:
        raise typer.Exit(1)


def serving(door: FastAPI, host: str, port: int) -> uvicorn.Config:
    """Return how the door is served.

    Args:
        door: the application.
        host: address to listen on.
        port: to listen on; 0 picks a free one.
    """
    import uvicorn

    return uvicorn.Config(
        door,
        host=host,
        port=port,
        access_log=False,
        server_header=False,
        # Callers are counted by where they come from, not by what they say of themselves.
        proxy_headers=False,
    )


@app.command()
def watch(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, start what is due.")] = False,
) -> None:
    """Look at the source, at drift and at quality, and start runs; Ctrl-C or SIGTERM ends it.

    A source that was there before the first look is no cause where data were accepted already.
    """
    tree = config_of(config, workspace)
    keeper, stopped = _keeper(tree, book_of(tree)), threading.Event()
    _log()
    if once:
        keeper.tend()
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        keeper.keep(stopped)
    except KeyboardInterrupt:
        console().print("no longer watched; runs that were started go on")


@app.command()
def ask(
    why: Annotated[str, typer.Argument(help="Why a run is wanted.")],
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
) -> None:
    """Ask for a run: whoever serves or watches starts it, without the pause between runs."""
    tree = config_of(config, workspace)
    now = time.time()
    book_of(tree).add([Cause(f"asked#{time.time_ns()}", Kind.ASKED, why[:500])], now)
    console().print("written down; `ostinato trigger status` tells what becomes of it")


@app.command()
def status(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print plain JSON.")] = False,
) -> None:
    """Show what waits, and the latest runs with their causes."""
    book = book_of(config_of(config, workspace))
    waiting, runs = book.waiting(), book.latest(20)
    if as_json:
        told = [
            {
                "id": r.id,
                "pipeline": r.pipeline,
                "state": r.state,
                "told": r.told,
                "why": [c.why for c in r.causes],
            }
            for r in runs
        ]
        print(json.dumps({"waiting": [cause.why for cause in waiting], "runs": told}, indent=2))
        return
    screen = console()
    for cause in waiting:
        screen.print(f"{'waits':12}{cause.why}", highlight=False)
    for run in runs:
        why = "; ".join(cause.why for cause in run.causes)
        end = f" ({run.told})" if run.told else ""
        state = f"{run.state.lower():12}{run.pipeline:9}"
        screen.print(f"{state}{run.id}{end}: {why}", highlight=False)
    if not waiting and not runs:
        screen.print("nothing waits, and nothing was triggered yet")


def book_of(config: Config) -> Book:
    """Return the book of a data set."""
    return Book(Path(config.paths.root) / "triggers.db")


def _keeper(config: Config, book: Book) -> Keeper:
    from pipelines.triggers import signals
    from pipelines.triggers.places import place_of
    from recommender.quality.accepted import last_accepted

    def source() -> list[Cause]:
        now = signals.source_state(config)
        if not book.knows("source#%") and last_accepted(config.paths.data) is not None:
            book.note(now, time.time())
        return [now]

    drift = TriggerMetrics(book).drifted
    checks = (source, lambda: signals.drifted(config, drift), lambda: signals.decayed(config))
    return Keeper(book, place_of(config), config.triggers, checks, read=source)


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
