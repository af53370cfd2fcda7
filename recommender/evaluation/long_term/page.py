"""One page that shows the study: two policies over months, and what each estimator saw of it.

The page needs nothing but itself: no network, no script, no other file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from recommender.evaluation.long_term import interrupted, matched, proxy
from recommender.evaluation.long_term.study import OFFSETS, Study
from recommender.files import atomic_file, write_json

PAGE, FIGURES = "long_term.html", "long_term.json"
_TEMPLATES = Path(__file__).parents[1] / "templates"
_HEIGHT = 60.0
_CAVEATS = {
    "off-policy (self-normalised)": (
        "It is about what a list earns at once; what lists do to people over weeks it can't see.",
    ),
    "interrupted time series": interrupted.CAVEATS,
    "matched comparison": matched.CAVEATS,
}


@dataclass(frozen=True)
class Line:
    """A line of a chart: points in a box 100 wide, and what it starts and ends with."""

    name: str
    points: str
    first: str
    last: str


@dataclass(frozen=True)
class Chart:
    """Lines that share their axes."""

    title: str
    lines: tuple[Line, ...]


def charts(study: Study) -> tuple[Chart, ...]:
    """Lay out how both policies did, week by week."""
    wanted = (
        ("Clicks per place shown", "click_rate", ".1%"),
        ("Conversions per place shown", "conversion_rate", ".2%"),
        ("Dislikes per place shown", "dislike_rate", ".1%"),
        ("Satisfaction of those who are there", "satisfaction", ".2f"),
        ("Visits per person and day", "visits", ".1%"),
        ("People who have not left", "alive", ".1%"),
    )
    return tuple(
        _chart(title, {each.name: getattr(each, field) for each in study.policies}, form)
        for title, field, form in wanted
    )


def loops(study: Study) -> tuple[Chart, ...]:
    """Lay out what generations of models trained on their own clicks do."""
    wanted = (
        ("Share of the catalogue that is shown", "coverage", ".0%"),
        ("Inequality of exposure (Gini)", "gini", ".2f"),
        ("Distance of two items of a list", "diversity", ".2f"),
        ("Clicks per place shown", "click_rate", ".1%"),
    )
    return tuple(
        _chart(
            title,
            {
                name: tuple(float(getattr(each, field)) for each in found)
                for name, found in study.loops.items()
            },
            form,
        )
        for title, field, form in wanted
    )


def render(study: Study) -> str:
    """Return the page."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("long_term.html.j2").render(
        study=study,
        charts=charts(study),
        loops=loops(study),
        offsets=OFFSETS,
        caveats=_CAVEATS,
        proxy_caveats=proxy.CAVEATS,
        height=_HEIGHT,
    )


def write(folder: Path, study: Study) -> Path:
    """Write the page and its figures into a folder; return the page."""
    write_json(folder / FIGURES, study.model_dump(mode="json"))
    with atomic_file(folder / PAGE) as temporary:
        temporary.write_text(render(study), encoding="utf-8")
        temporary.chmod(0o644)
    return folder / PAGE


def _chart(title: str, lines: dict[str, Sequence[float]], form: str) -> Chart:
    values = [value for line in lines.values() for value in line]
    low, high = min(values), max(values)
    room = (high - low or 1.0) * 0.08

    def points(line: Sequence[float]) -> str:
        last = max(len(line) - 1, 1)
        scale = high - low + 2 * room
        return " ".join(
            f"{100 * place / last:.2f},{_HEIGHT * (1 - (value - low + room) / scale):.2f}"
            for place, value in enumerate(line)
        )

    return Chart(
        title,
        tuple(
            Line(name, points(line), format(line[0], form), format(line[-1], form))
            for name, line in lines.items()
        ),
    )
