"""Shows where a data set stands: its champion, what is served, its features, its last runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from recommender.config import Config
from recommender.errors import FeatureError, UserError
from recommender.files import read_json
from recommender.forgetting.encoders import marked
from recommender.registry import Registry
from serving.endpoint import status as endpoint_status

_RUNS = 5


def show(config: Config, console: Console) -> None:
    """Print the state of a data set's workspace; changes nothing."""

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    say(f"[bold]{config.name}[/]  {config.paths.root}")
    registry = Registry.configured(config)
    aliases = registry.aliases()
    say(f"champion   {aliases.champion or 'none yet: `ostinato run` trains one'}")
    if aliases.champion and (marks := registry.retrain_marks(aliases.champion)):
        who = "a user who has" if len(marks) == 1 else f"{len(marks)} users who have"
        say(f"  [yellow]retrain[/]  it saw {who} asked to be forgotten; `ostinato run` trains anew")
    for encoder in marked(config):
        say(
            f"  [yellow]tune[/]     the text encoder {encoder} saw users who have asked to be "
            "forgotten; no data set is built with it"
        )
    if aliases.candidate:
        say(f"candidate  {aliases.candidate}")
    served = endpoint_status(config)
    say(f"endpoint   {served['url'] or 'down; `ostinato serve` starts it'}")
    for lane, arms in served["lanes"].items():
        for arm in arms:
            state = "[green]ready[/]" if arm["ready"] else "[red]not ready[/]"
            say(f"  {lane:<9} {arm['version']}  weight {arm['weight']}  {state}")
    say(f"features   {_features(config)}")
    for line in _freshness(config):
        say(f"           {line}")
    for folder in sorted(config.paths.run("x").parent.glob("*"))[-_RUNS:]:
        say(f"run        {folder.name}  {_ended(folder)}")


def _features(config: Config) -> str:
    from feature_repo.locations import project_name
    from feature_repo.online import OnlineFeatures

    try:
        with OnlineFeatures(config.paths, project_name(config, "live")) as store:
            users = store.users()
            latest = store.user_history(users[0]) if users else None
    except FeatureError:
        return "none published yet"
    if latest is None:
        return "no users"
    as_of = datetime.fromtimestamp(latest.as_of_ms / 1000, UTC)
    return f"{len(users):,} users as of {as_of:%Y-%m-%d %H:%M:%S} UTC"


def _freshness(config: Config) -> Iterator[str]:
    """Say when what the endpoint reads was published, and what is too old."""
    from feature_repo.freshness import now_ms, place_of, read
    from feature_repo.locations import project_name
    from recommender.features.freshness import duration, too_old

    try:
        found = read(place_of(config.paths, project_name(config, "live")))
    except UserError as error:
        yield f"[red]nobody knows how fresh[/]: {error.message}"
        return
    now = now_ms()
    if served := found.get("user_sequence"):
        streamed = ", by a streamed event" if served.arrived_ms == served.changed_ms else ""
        lag = served.lag_s(now)
        newest = "" if lag is None else f"; newest event {duration(lag)} ago"
        yield f"published {duration(served.age_s(now))} ago{streamed}{newest}"
    for line in too_old(found, found, config.features.freshness, now):
        yield f"[red]stale[/]  {line}"


def _ended(folder: Path) -> str:
    path = folder / "outcome.json"
    if not path.exists():
        return "did not end (killed, or still at work)"
    outcome = read_json(path)
    if outcome["state"] == "SUCCEEDED":
        return "succeeded"
    return f"{outcome['state'].lower()} in {outcome['failed_step']}: {outcome['error']}"
