"""`ostinato rollout …`: roll a registered version out, look at it, and have the last word."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live

from pipelines.options import (
    DEFAULT,
    AsJson,
    ConfigPath,
    Setting,
    WorkspacePath,
    config_of,
    console,
)
from recommender.config import Config
from recommender.errors import RolloutError
from serving.rollout.intent import Action

if TYPE_CHECKING:
    # The statistics behind it take a second to import, which `--help` should not.
    from serving.rollout.state import Rollouts, State

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Bring a registered version to everybody, step by step, or take it back.

    A rollout gives the candidate a growing share (5 → 25 → 50 → 100 %), beside the champion and at
    the same time. At each step the guardrails look at errors, latency, hits, the split itself and
    memory, and say promote, hold or roll back. Proof of harm takes the candidate away at once; no
    data is never a pass.

    [bold]ostinato rollout start[/] drives it in the foreground. Kill it whenever you like: the same
    command goes on where it was. From another terminal, [bold]status --watch[/] looks on,
    [bold]abort[/] and [bold]promote[/] have the last word within a second.

    Where it takes place (rollout.target) and whom it is judged by (rollout.traffic) are settings:
    this machine, an InferenceService or a Git repository; replayed held-out users or live traffic.
    """,
)

Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept with the rollout.")]
Rollout = Annotated[str, typer.Option("--id", help="Which rollout; default: the latest.")]
_WAIT_S = 120.0


@app.command()
def start(
    version: Annotated[
        str, typer.Argument(help="A version of the registry; default: its candidate.")
    ] = "",
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="First let it answer a copy of the live traffic.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Judge by the live traffic instead of a replay.")
    ] = False,
    settings: Setting = None,
) -> None:
    """Roll a version out, or go on with its rollout where it was cut off.

    Examples:
      ostinato rollout start
      ostinato rollout start m-0123456789ab --shadow
      ostinato rollout start --live --set rollout.soak_s='[600, 1800, 3600]'
    """
    from feature_repo.history_as_of import accepted_data
    from recommender.registry import Registry
    from serving.rollout.release import release

    told = [*(settings or ())]
    told += ["rollout.shadow.enabled=true"] if shadow else []
    told += ["rollout.traffic=live"] if live else []
    tree, screen = config_of(config, workspace, told), console()
    chosen = version or Registry.configured(tree).candidate()
    if not chosen:
        raise RolloutError(
            f"{tree.name} has no candidate to roll out",
            "`ostinato run` trains one; or name a version of the registry",
        )
    data = accepted_data(tree)
    _log(screen)
    try:
        done = release(tree, data.tables, data.data_version, chosen, "by hand")
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; the same command goes on, `abort` takes it back")
        raise typer.Exit(130) from None
    screen.print(f"[bold]{done.outcome.value.replace('_', ' ')}[/]: {done.reason}", highlight=False)
    screen.print(f"champion {done.champion}  {done.endpoint}", highlight=False)
    if done.rollout:
        screen.print(f"report   {_write_report(tree, done.rollout)}", highlight=False)


@app.command()
def status(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    id_: Rollout = "",
    watch: Annotated[bool, typer.Option("--watch", help="Until it has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a rollout: where it is, what each guardrail says, and who drives it."""
    from pipelines.rollout_view import view

    tree, screen = config_of(config, workspace), console()
    rollouts = _rollouts(tree)
    state = _chosen(rollouts, id_)
    if as_json:
        told = state.to_dict() | {"driven": rollouts.driven}
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return
    if not watch:
        screen.print(view(state, tree, driven=rollouts.driven))
        return
    with Live(console=screen, auto_refresh=False) as page:
        while True:
            page.update(view(state, tree, driven=rollouts.driven), refresh=True)
            if state.phase.final:
                return
            time.sleep(0.5)
            state = _chosen(rollouts, state.id)


@app.command()
def promote(
    reason: Reason,
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even if a guardrail has proof against it.")
    ] = False,
) -> None:
    """Give the candidate to everybody now, without the steps that are left.

    A candidate that was shown to do harm, or a broken split, needs --force; one that can't be
    served is never promoted. Word and reason are kept with the rollout.

    Example:
      ostinato rollout promote --reason "hotfix for the sale, agreed with Ann"
    """
    from serving.rollout.intent import against

    tree = config_of(config, workspace)
    state = _unfinished(_rollouts(tree))
    harm = against(state.judgements)
    if harm and not force:
        raise RolloutError(
            f"the guardrails have proof against {state.candidate}: {harm}",
            "--force promotes it all the same; `ostinato rollout status` shows the numbers",
        )
    _say(tree, state, Action.PROMOTE, reason, force=force)


@app.command()
def abort(reason: Reason, config: ConfigPath = DEFAULT, workspace: WorkspacePath = None) -> None:
    """Take the candidate back now; the champion gets all of the traffic.

    Example:
      ostinato rollout abort --reason "wrong data version"
    """
    tree = config_of(config, workspace)
    _say(tree, _unfinished(_rollouts(tree)), Action.ABORT, reason)


@app.command()
def history(
    config: ConfigPath = DEFAULT, workspace: WorkspacePath = None, as_json: AsJson = False
) -> None:
    """List all rollouts: who against whom, how far it came, how it ended and why."""
    from pipelines.rollout_view import table

    states = _rollouts(config_of(config, workspace)).all()
    if as_json:
        print(json.dumps([state.to_dict() for state in states], indent=2, ensure_ascii=False))
        return
    console().print(table(states) if states else "no rollout yet; `ostinato rollout start`")


@app.command()
def report(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    id_: Rollout = "",
    out: Annotated[
        Path | None, typer.Option(help="The page; default: beside the rollout's state.")
    ] = None,
) -> None:
    """Write a rollout's page: steps, both arms' curves, verdicts, timeline. Ended or not."""
    tree = config_of(config, workspace)
    state = _chosen(_rollouts(tree), id_)
    console().print(f"{_write_report(tree, state, out)}", highlight=False)


def _say(config: Config, state: State, action: Action, reason: str, *, force: bool = False) -> None:
    """Write the intent; wait until the driver has heeded it, or be the driver."""
    from feature_repo.history_as_of import accepted_data
    from serving.rollout.intent import heard, say
    from serving.rollout.release import go_on

    rollouts, screen = _rollouts(config), console()
    folder = rollouts.of(state)
    say(folder, action, reason, force=force)
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        if not rollouts.driven:
            if heard(folder) is None:
                break
            data = accepted_data(config)
            _log(screen)
            go_on(config, data.tables, data.data_version)
            break
        if heard(folder) is None and _chosen(rollouts, state.id).phase.final:
            break
        time.sleep(0.2)
    now = _chosen(rollouts, state.id)
    screen.print(f"{now.phase.replace('_', ' ')}: {now.timeline[-1].note}", highlight=False)
    if not now.phase.final and heard(folder) is not None:
        screen.print("the driver has not come to it yet; `ostinato rollout status` tells")


def _write_report(config: Config, state: State, out: Path | None = None) -> Path:
    from serving.rollout import report as page

    rollouts = _rollouts(config)
    path = out or rollouts.of(state) / page.FILE
    records, compared = rollouts.journal(state).read(), rollouts.comparisons(state).read()
    page.write(path, state, records, config, compared)
    return path


def _rollouts(config: Config) -> Rollouts:
    from serving.rollout.state import Rollouts

    return Rollouts(config.paths.serving / "rollouts")


def _chosen(rollouts: Rollouts, id_: str) -> State:
    found = [state for state in rollouts.all() if id_ in ("", state.id)]
    if not found:
        what = f"no rollout {id_}" if id_ else "no rollout yet"
        raise RolloutError(what, "`ostinato rollout history` lists them")
    return found[-1]


def _unfinished(rollouts: Rollouts) -> State:
    found = rollouts.unfinished()
    if not found:
        raise RolloutError(
            "no rollout is under way",
            "`ostinato rollout start` begins one; `ostinato rollout history` lists the others",
        )
    return found[-1]


def _log(screen: Console) -> None:
    """Print what the engine does as it does it."""

    class OnScreen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            screen.print(record.getMessage(), highlight=False, soft_wrap=True)

    logger = logging.getLogger("serving.rollout")
    logger.setLevel(logging.INFO)
    logger.handlers = [OnScreen()]
