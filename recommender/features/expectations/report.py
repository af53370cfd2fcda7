"""The report on features: `features.json` for programs, `features.html` for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recommender.features.expectations.distribution import Distribution
from recommender.features.expectations.judge import DRIFT, Finding, Judged
from recommender.features.expectations.profile import Profile, ViewProfile
from recommender.features.freshness import Freshness, moment
from recommender.files import atomic_file, write_json
from recommender.quality.expect import number, percent

JSON = "features.json"
HTML = "features.html"


@dataclass(frozen=True)
class Picture:
    """A little histogram; positions are percent of its width and height, y from the top.

    Attributes:
        name: of the figure.
        bars: (left, width, top, height) of each column of these features.
        before: the outline of the last accepted run's, as an SVG path; "" without one.
        low, high: what the ends of the axis say.
        said: means, in words.
    """

    name: str
    bars: tuple[tuple[float, float, float, float], ...]
    before: str
    low: str
    high: str
    said: str


def described(judged: Judged, published: Mapping[str, Freshness]) -> dict[str, Any]:
    """Return a judgement as plain JSON values: what `features.json` holds.

    Keys: `verdict`, `version`, `data_version`, `as_of_ms`, `against`, `counts`, `expectations`
    (see `judge.Finding`), `profile` (see `profile.Profile`), and `published`, the freshness of each
    view (empty where nothing was published).
    """
    profile, against = judged.profile, judged.against
    return {
        "verdict": judged.verdict,
        "version": profile.version,
        "data_version": profile.data_version,
        "as_of_ms": profile.as_of_ms,
        "against": against and {"version": against.version, "made_at": against.made_at},
        "counts": {
            "expectations": len(judged.findings),
            "passed": sum(found.passed for found in judged.findings),
            "warnings": len(judged.warnings),
            "critical": len(judged.critical),
        },
        "expectations": [found.to_dict() for found in judged.findings],
        "profile": profile.to_dict(),
        "published": {view: each.to_dict() for view, each in published.items()},
    }


def rendered(
    judged: Judged, published: Mapping[str, Freshness], *, name: str, comparing: bool
) -> str:
    """Return the report as one HTML page that needs nothing else.

    Args:
        judged: what was found.
        published: freshness of the views; empty where nothing was published.
        name: of the data set.
        comparing: whether the configuration asks for the comparison with the last run.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("recommender.features.expectations", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, count=lambda value: f"{value:,}", moment=moment)
    views: dict[str, list[Finding]] = {}
    for found in judged.findings:
        views.setdefault(found.view, []).append(found)
    return environment.get_template("features.html.j2").render(
        told=described(judged, {}),
        name=name,
        broken=[*judged.critical, *judged.warnings],
        views=views,
        profile=judged.profile,
        against=judged.against,
        comparing=comparing,
        switch=DRIFT,
        pictures={
            view: tuple(_pictures(judged.profile.views[view], _view(judged.against, view)))
            for view in judged.profile.views
        },
        published=published,
    )


def write_reports(
    judged: Judged,
    folder: Path,
    *,
    name: str,
    comparing: bool,
    published: Mapping[str, Freshness] | None = None,
) -> Path:
    """Write `features.json` and `features.html` into `folder`; return the page's path."""
    published = published or {}
    write_json(folder / JSON, described(judged, published))
    page = folder / HTML
    with atomic_file(page) as temporary:
        text = rendered(judged, published, name=name, comparing=comparing)
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
    return page


def _view(profile: Profile | None, view: str) -> ViewProfile | None:
    return None if profile is None else profile.views.get(view)


def _pictures(now: ViewProfile, then: ViewProfile | None) -> Iterator[Picture]:
    for name, figure in now.figures.items():
        yield _picture(name, figure, then.figures.get(name) if then else None)


def _picture(name: str, now: Distribution, then: Distribution | None) -> Picture:
    """Draw both on one axis: columns for now, an outline for then, each as shares of its rows."""
    sides = [now] if then is None else [now, then]
    low, high = min(side.low for side in sides), max(side.high for side in sides)
    width = high - low or 1.0
    # Columns differ in width between the two, so heights are densities.
    tallest = max(max(_densities(side)) for side in sides) or 1.0

    def place(side: Distribution) -> Iterator[tuple[float, float, float, float]]:
        step = (side.high - side.low or 1.0) / len(side.shape)
        for column, density in enumerate(_densities(side)):
            left = (side.low + column * step - low) / width * 100
            tall = density / tallest * 100
            yield round(left, 2), round(step / width * 100, 2), round(100 - tall, 2), round(tall, 2)

    said = f"mean {number(now.mean)}"
    path = ""
    if then is not None:
        said += f", then {number(then.mean)}"
        columns = list(place(then))
        path = f"M{columns[0][0]} 100" + "".join(
            f"V{top}H{round(left + wide, 2)}" for left, wide, top, _ in columns
        )
        path += "V100"
    return Picture(name, tuple(place(now)), path, number(low), number(high), said)


def _densities(side: Distribution) -> list[float]:
    step = (side.high - side.low or 1.0) / len(side.shape)
    return [count / max(side.rows, 1) / step for count in side.shape]
