"""The commands below `ostinato features`; what they need is imported when they run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.options import DEFAULT, AsJson, ConfigPath, WorkspacePath, config_of, console
from recommender.errors import UserError


class _Group(typer.core.TyperGroup):
    """Says how to ask for a user, where an id stands in place of a command."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the words name."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise UserError(
                f"`features` has no command {args[0]!r}",
                f"for what is known of a user or an item: `ostinato features user {args[0]}`, "
                f"`ostinato features item {args[0]}`",
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Ask the feature store: what it knows of a user or an item, and how fresh it is.

    [bold]ostinato features user 42[/] shows exactly what the model reads of user 42.
    With [bold]--as-of 2003-02-01[/] it shows what it would have read then.
    """,
)


@app.command()
def user(
    user_id: Annotated[str, typer.Argument(metavar="USER", help="A user id of the data set.")],
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="MOMENT",
            help="Answer as of this moment: a date, an ISO time (UTC unless it has a zone), now.",
        ),
    ] = None,
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    as_json: AsJson = False,
) -> None:
    """Show a user's history, activity and attributes.

    Without --as-of the answer comes from the online store: it is what the model server reads.
    With it, from the events themselves: the last accepted data and what has been streamed since,
    strictly before that moment.

    Examples:
      ostinato features user u00042
      ostinato features user 42 --as-of 2003-02-01 -c configs/movielens-1m.yaml
      ostinato features user 42 --as-of 2003-02-01T18:30+08:00 --json
    """
    from pipelines.features.show_user import show

    show(config_of(config, workspace), user_id, as_of, console(), as_json=as_json)


@app.command()
def item(
    item_id: Annotated[str, typer.Argument(metavar="ITEM", help="An item id of the catalogue.")],
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    as_json: AsJson = False,
) -> None:
    """Show what is said of an item, its attributes, its demand, and its neighbours in words.

    Examples:
      ostinato features item 17
      ostinato features item 17 --json
    """
    from pipelines.features.show_item import show

    show(config_of(config, workspace), item_id, console(), as_json=as_json)


@app.command()
def similar(
    item_id: Annotated[str, typer.Argument(metavar="ITEM", help="An item id of the catalogue.")],
    k: Annotated[int, typer.Option("-k", help="How many items.", min=1, max=1000)] = 10,
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    as_json: AsJson = False,
) -> None:
    """Show the items whose text says most nearly the same, whoever took them.

    Examples:
      ostinato features similar 17
      ostinato features similar 17 -k 25 --json
    """
    from pipelines.features.show_similar import show

    show(config_of(config, workspace), item_id, k, console(), as_json=as_json)


@app.command()
def services(
    config: ConfigPath = DEFAULT, workspace: WorkspacePath = None, as_json: AsJson = False
) -> None:
    """Show what each version of a model reads, and which registered models name it.

    Examples:
      ostinato features services
      ostinato features services --json
    """
    from pipelines.features.show_services import show

    show(config_of(config, workspace), console(), as_json=as_json)


@app.command()
def freshness(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    as_json: AsJson = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print what Prometheus reads.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if a view is older than its limit.")
    ] = False,
) -> None:
    """Show how old each view is, up to which event it knows, and what the limits are.

    Limits are set in the configuration: features.freshness.max_age_hours and max_lag_hours.

    Examples:
      ostinato features freshness
      ostinato features freshness --check        (for a scheduled job)
      ostinato features freshness --metrics      (for a node exporter's text file)
    """
    from pipelines.features.show_freshness import show

    fresh = show(config_of(config, workspace), console(), as_json=as_json, metrics=metrics)
    if check and not fresh:
        raise typer.Exit(1)


@app.command()
def publish(
    config: ConfigPath = DEFAULT,
    workspace: WorkspacePath = None,
    data: Annotated[
        str,
        typer.Option(help="Accepted data version: the last one (the default) or the one before."),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Publish the live features again: after the online store was lost, or from the data before.

    They are made of accepted data and of all streamed events that have landed; nothing is trained,
    and what is served stays. Features that break a critical expectation are not published.

    Examples:
      ostinato features publish
      ostinato features publish --data d-0123456789ab
    """
    from feature_repo.publish_live import publish_live

    told = publish_live(config_of(config, workspace), data)
    if as_json:
        console().print_json(
            data={
                "project": told.project,
                "as_of_ms": told.as_of_ms,
                "users": told.users,
                "items": told.items,
                "events": told.events,
                "landed": told.landed,
                "removed": told.removed,
            }
        )
        return
    console().print(
        f"published {told.users:,} users and {told.items:,} items to {told.project}: "
        f"{told.events:,} events, {told.landed:,} of them streamed and landed since",
        highlight=False,
        soft_wrap=True,
    )
