"""Limits from the configuration, turned into Great Expectations' expectations.

One limit makes up to two of them: a warning and a critical one, each with its own threshold.
What people need to know of an expectation travels in its `meta` and `notes`, so that it stands
in the Data Docs as well as on our report.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from recommender.config.quality import AtLeast, AtMost

Expectations = list[Any]
"""Of `great_expectations.expectations.Expectation`."""


def kinds() -> ModuleType:
    """Return Great Expectations' classes of expectations; loading them takes seconds."""
    return import_module("great_expectations.expectations")


def share(
    kind: type[Any], name: str, why: str, setting: str, limit: AtMost, **arguments: Any
) -> Expectations:
    """Expect of single rows: at most a share of them may break `kind`.

    Args:
        kind: a column-map expectation class with `mostly`.
        name: short, as people will read it ("events: the item is in the catalogue").
        why: what depends on it, and what is done about rows that break it.
        setting: dotted key of the limit in the configuration.
        limit: shares, 0 … 1.
        arguments: of the expectation.
    """
    made: Expectations = []
    for severity, most in _thresholds(limit):
        meaning = "every row" if most == 0 else f"all but {percent(most)} of the rows"
        told = _told(severity, name, meaning, setting, why)
        made.append(kind(**arguments, mostly=1 - most, **told))
    return made


def figure(name: str, why: str, setting: str, limit: AtMost | AtLeast, column: str) -> Expectations:
    """Expect of one figure of the whole log that it keeps to its limits.

    Args:
        name: short, as people will read it.
        why: what depends on it.
        setting: dotted key of the limit in the configuration.
        limit: upper or lower limits, in the figure's unit.
        column: of the one-row table of figures.
    """
    gxe = kinds()

    made: Expectations = []
    for severity, bound in _thresholds(limit):
        upper = isinstance(limit, AtMost)
        kind = gxe.ExpectColumnMaxToBeBetween if upper else gxe.ExpectColumnMinToBeBetween
        keeps = {"max_value": bound} if upper else {"min_value": bound}
        meaning = f"{'at most' if upper else 'at least'} {number(bound)}"
        told = _told(severity, name, meaning, setting, why)
        made.append(kind(column=column, **keeps, **told))
    return made


def fact(kind: type[Any], name: str, expected: str, why: str, **arguments: Any) -> Expectations:
    """Expect something that has no degree (a type, a column): breaking it is critical."""
    return [kind(**arguments, **_told("critical", name, expected, "", why))]


def attributes(meta: dict[str, Any]) -> dict[str, str]:
    """Return what `share`, `figure` and `fact` noted: name, expected, setting, why, severity."""
    noted: dict[str, str] = meta["attributes"]
    return noted


def _told(severity: str, name: str, expected: str, setting: str, why: str) -> dict[str, Any]:
    noted = {
        "name": name,
        "expected": expected,
        "setting": setting,
        "why": why,
        "severity": severity,
    }
    return {
        "severity": severity,
        # Data Docs show the description beside the result, the notes beside the expectation.
        "description": f"{name}: {expected} ({severity})",
        "notes": why,
        "meta": {"attributes": noted},
    }


MARKUP = str.maketrans({"<": "‹", ">": "›", "&": "＆", "$": "＄"})
"""Look-alikes for what HTML and Great Expectations' templates read as their own."""


def inert(text: str) -> str:
    """Return `text` so that the Data Docs show it as it is, whatever it holds."""
    return text.translate(MARKUP)


def percent(share: float) -> str:
    """Write a share for people: 0.05 → "5%"."""
    return "<0.01%" if 0 < share < 1e-4 else f"{share * 100:.3g}%"


def number(value: float) -> str:
    """Write a figure for people: 1000 → "1,000", 0.123456 → "0.1235"."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def _thresholds(limit: AtMost | AtLeast) -> list[tuple[str, float]]:
    """Return (severity, bound), leaving out a warning that would say what the failure says."""
    bounds = []
    if limit.warn is not None and limit.warn != limit.fail:
        bounds.append(("warning", limit.warn))
    if limit.fail is not None:
        bounds.append(("critical", limit.fail))
    return bounds
