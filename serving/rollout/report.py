"""One page that says how a rollout went, and lets a person check it.

The page needs nothing but itself: no network, no script, no other file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recommender.config import Config
from recommender.files import atomic_file
from serving.rollout.pictures import charts, traffic_steps
from serving.rollout.records import Record
from serving.rollout.shadow import Comparison
from serving.rollout.state import Phase, State

FILE = "canary.html"
_TEMPLATES = Path(__file__).parent / "templates"
_SIGNS = {
    "promote": ("promote", "✓", "pass"),
    "hold": ("hold", "?", "unsure"),
    "roll_back": ("roll back", "✗", "fail"),
}
_ENDS = {
    Phase.PROMOTED: ("Promoted", "✓", "pass"),
    Phase.ROLLED_BACK: ("Rolled back", "✗", "fail"),
}


def render(
    state: State,
    records: Sequence[Record],
    config: Config,
    compared: Sequence[Comparison] = (),
) -> str:
    """Return the page of a rollout, ended or not.

    Args:
        state: of the rollout.
        records: what was seen of each request.
        config: of the data set.
        compared: what the shadow has compared.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(rate=_rate, milliseconds=_milliseconds, clock=_clock)
    return environment.get_template("canary.html.j2").render(
        state=state,
        records=records,
        config=config,
        end=_ENDS.get(state.phase, (str(state.phase), "…", "unsure")),
        signs=_SIGNS,
        charts=charts(state, records, config.rollout, compared),
        traffic=traffic_steps(state),
        level=f"{100 * (1 - config.rollout.false_alarm):g} %",
    )


def write(
    path: Path,
    state: State,
    records: Sequence[Record],
    config: Config,
    compared: Sequence[Comparison] = (),
) -> None:
    """Write the page to `path`, atomically; see `render`."""
    with atomic_file(path) as temporary:
        temporary.write_text(render(state, records, config, compared), encoding="utf-8")
        temporary.chmod(0o644)


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"


def _clock(time: str) -> str:
    return f"{datetime.fromisoformat(time):%H:%M:%S}"
