"""`ostinato forget`: asks, does the work, and tells what was removed and what is proved."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table

from pipelines.forget.work import Found, NotForgottenError, find, forget
from recommender.config import Config
from recommender.errors import UserError
from recommender.forgetting import certificate
from recommender.forgetting.certificate import Certificate
from recommender.forgetting.scan import UNSEEN, Scan

_SHOWN = 12


def verify(config: Config, user: str, also: Sequence[str], console: Console) -> None:
    """Only look, and say where the user is.

    Raises:
        NotForgottenError: somewhere.
    """
    found = find(config, user, also)
    if found.scan.clean:
        console.print(f"nothing of {user!r} was found", highlight=False)
        console.print(_looked_at(found.scan), highlight=False)
        return
    _print_found(found, user, console)
    torn = len(found.scan.unreadable)
    raise NotForgottenError(
        f"{user!r} is in {len(found.scan.traces)} places"
        + (f", and {torn} files can't be read" if torn else ""),
        "without --verify, the same command removes them",
    )


def run(
    config: Config,
    user: str,
    console: Console,
    *,
    also: Sequence[str] = (),
    yes: bool = False,
    suppress: bool = False,
    as_json: bool = False,
) -> None:
    """Forget a user, after asking.

    Raises:
        UserError: see `pipelines.forget.work.forget`.
    """
    if not yes:
        if as_json or not console.is_terminal:
            raise UserError(
                "this can't be undone, and nobody is here to be asked",
                "say that you mean it: --yes",
            )
        found = find(config, user, also)
        _print_found(found, user, console)
        if found.scan.traces and not typer.confirm("Forget this user? This can't be undone"):
            raise typer.Exit(1)
    told = forget(config, user, also=also, unknown_too=suppress)
    if as_json:
        print(json.dumps(told.to_dict(), indent=2, ensure_ascii=False))
        return
    _print_done(config, told, console)


def _print_found(found: Found, user: str, console: Console) -> None:
    console.print(f"[bold]{user}[/] in {len(found.scan.traces)} places", highlight=False)
    if found.since:
        console.print(f"on the suppression list since {found.since}", highlight=False)
    folders = Counter[str]()
    for trace in found.scan.traces:
        folders[_folder(trace.where)] += trace.count
    for folder, count in folders.most_common(_SHOWN):
        console.print(f"  {count:>8,}  {folder}", highlight=False, soft_wrap=True)


def _folder(where: str) -> str:
    """Return the part of a file's path that says what it is: not the run, not the file."""
    parts = where.split("/")
    return where if "://" in where or len(parts) < 3 else "/".join(parts[:2]) + "/…"


def _print_done(config: Config, told: Certificate, console: Console) -> None:
    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    table = Table("removed from", "records", "files", box=None, pad_edge=False)
    for place, removed in told.removed.items():
        if removed:
            table.add_row(place, f"{removed.records:,}", f"{removed.files:,}")
    say("")
    console.print(table if table.row_count else "nothing was left to remove", highlight=False)
    encoders = [version for version in told.models if version.startswith("e-")]
    if models := [version for version in told.models if version not in encoders]:
        say(f"\n{len(models)} models saw them and are marked: {', '.join(models)}")
        say("`ostinato run` trains one that did not")
    if encoders:
        say(f"\n{len(encoders)} tuned text encoders saw them: {', '.join(encoders)}")
        say("no data set is built with those any more; tune again, from what is left")
    say(f"\n[green]proved[/]: {_looked_at(told.scan)}; neither id nor pseudonym is in them")
    say("kept out of every ingest and stream from now on")
    say("not seen by the scan:")
    for each in UNSEEN:
        say(f"  {each}")
    say(f"certificate {certificate.path_of(config.paths, told.ticket)}")


def _looked_at(scan: Scan) -> str:
    return f"{sum(scan.files.values()):,} files and keys ({scan.size / 1e6:,.1f} MB) looked through"
