"""The commands that ask for recommendations: for one person, and for everybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import DEFAULT, AsJson, ConfigPath, WorkspacePath, config_of, console


def recommend(
    user: Annotated[str, typer.Argument(help="A user id of the data set.")],
    k: Annotated[int, typer.Option("-k", help="How many items.", min=1, max=1000)] = 10,
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    candidates: Annotated[
        list[str] | None,
        typer.Option("--candidates", help="An item id to put in order; may be given often."),
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(help="Only items in this category, or in any of those given."),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Say which past events, and what else was read, drove each item."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the served endpoint what to recommend to a user.

    The history comes from the Feast online store, inside the endpoint.
    """
    from pipelines.answers import show
    from serving.endpoint import ask

    # All candidates are put in order, however many they are.
    count = len(candidates) if candidates else k
    answer = ask(
        config_of(config, workspace),
        user,
        count,
        candidates=candidates or (),
        categories=category or (),
        explain=explain,
    )
    if as_json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    show(answer, user, console())


def everybody(
    out: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    k: Annotated[int, typer.Option("-k", help="How many items each.", min=1, max=1000)] = 10,
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    plain_ids: Annotated[
        bool, typer.Option("--plain-ids", help="The source's user ids instead of pseudonyms.")
    ] = False,
) -> None:
    """Recommend to every user at once, for e-mails say: the champion's lists as Parquet.

    Ranked as the endpoint ranks, in blocks: memory doesn't grow with the users.
    """
    from pipelines.everybody import write

    users, version = write(config_of(config, workspace), out, k, plain_ids=plain_ids)
    console().print(f"{out}: {users:,} users, model {version}", highlight=False)
