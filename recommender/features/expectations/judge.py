"""The whole judgement of one snapshot: every row, every figure, the verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from recommender.config import Config
from recommender.config.quality import AtMost
from recommender.errors import DataQualityError
from recommender.features.expectations.figures import figures, limit_of
from recommender.features.expectations.profile import Profile, ViewProfile, features_version
from recommender.features.expectations.rules import Rule, rules
from recommender.quality.drift import population_stability_index
from recommender.quality.expect import number, percent

DRIFT = "features.expectations.drift"
_MOST_NAMED = 5


@dataclass(frozen=True)
class Finding:
    """What became of one expectation.

    Attributes:
        view: name of the feature view.
        name: of the expectation, in words.
        severity: what it means if it is broken; a figure that isn't judged is `note`.
        passed: whether it held.
        expected, observed: in words.
        examples: ids of rows that break it; users by their pseudonyms.
        why: what depends on it.
        setting: key of its limit; "" where there is none to change.
    """

    view: str
    name: str
    severity: Literal["critical", "warning", "note"]
    passed: bool
    expected: str
    observed: str
    examples: tuple[str, ...]
    why: str
    setting: str

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return {**asdict(self), "examples": list(self.examples)}


@dataclass(frozen=True)
class Judged:
    """What was found.

    Attributes:
        findings: one per expectation, view by view.
        profile: of these features.
        against: the accepted run they were compared with; None for the first, or switched off.
    """

    findings: tuple[Finding, ...]
    profile: Profile
    against: Profile | None

    @property
    def critical(self) -> tuple[Finding, ...]:
        """Broken expectations that stop the run."""
        return tuple(f for f in self.findings if not f.passed and f.severity == "critical")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Broken expectations that are only reported."""
        return tuple(f for f in self.findings if not f.passed and f.severity == "warning")

    @property
    def verdict(self) -> str:
        """One of `failed`, `passed with warnings`, `passed`."""
        if self.critical:
            return "failed"
        return "passed with warnings" if self.warnings else "passed"

    def sound(self, report: Path | None = None) -> None:
        """Make sure that the features may be published.

        Args:
            report: where a person can read the details; named in the error.

        Raises:
            DataQualityError: a critical expectation is broken; it names every one (up to five),
                how many rows break it, and examples.
        """
        if self.critical:
            raise DataQualityError(_message(self), _hint(self.critical, report))


def judge(
    tables: Mapping[str, pa.Table],
    keys: Mapping[str, str],
    as_of_ms: int,
    config: Config,
    *,
    data_version: str,
    now: datetime,
    against: Profile | None,
    pseudonym: Callable[[str], str],
) -> Judged:
    """Judge a snapshot before it is published.

    Args:
        tables: by view.
        keys: join key of each view.
        as_of_ms: of the snapshot, UTC milliseconds.
        config: `features`, `quality.price_min` and `actions` are read.
        data_version: of the canonical tables.
        now: noted in the profile.
        against: the accepted run to compare with; None for the first one.
        pseudonym: turns a user id into a pseudonym; findings hold no other.
    """
    expected = config.features.expectations
    compared = against if expected.drift.compare else None
    findings: list[Finding] = []
    views: dict[str, ViewProfile] = {}
    version = features_version(config, data_version)
    # The part after the data version is a hash of the settings.
    meant = compared is not None and compared.version.split("/")[1:] != version.split("/")[1:]
    for view, table in tables.items():
        key = keys[view]
        shown = pseudonym if key == "user_id" else str
        for rule in rules(view, table, key, as_of_ms, config):
            findings.append(_finding(view, rule, table[key], expected.examples, shown))
        views[view] = ViewProfile.of(view, table, as_of_ms, expected.bins)
        if compared is not None and view in compared.views:
            before = compared.views[view]
            findings += _moves(view, table, as_of_ms, before, views[view], config, meant=meant)
    moment = now.isoformat(timespec="seconds")
    profile = Profile(version, data_version, as_of_ms, moment, views)
    return Judged(tuple(findings), profile, compared)


def _finding(
    view: str, rule: Rule, ids: pa.ChunkedArray, most: int, shown: Callable[[str], str]
) -> Finding:
    rows, count = len(rule.broken), int(rule.broken.sum())
    share = count / rows if rows else 0.0
    severity, passed, bound = _verdict(share, rule.limit)
    places = np.flatnonzero(rule.broken)[:most]
    examples = tuple(_shown(ids[int(place)].as_py(), shown) for place in places)
    return Finding(
        view=view,
        name=rule.name,
        severity=severity,
        passed=passed,
        expected="every row" if not bound else f"all but {percent(bound)} of the rows",
        observed=f"{count:,} of {rows:,} rows break it ({percent(share)})"
        if count
        else f"none of {rows:,} rows breaks it",
        examples=examples if not passed else (),
        why=rule.why,
        setting=rule.setting,
    )


def _shown(value: str | None, shown: Callable[[str], str]) -> str:
    return "(missing)" if value is None else shown(value)


def _moves(
    view: str,
    table: pa.Table,
    as_of_ms: int,
    then: ViewProfile,
    now: ViewProfile,
    config: Config,
    *,
    meant: bool,
) -> Iterator[Finding]:
    """Compare a view with what it was in the last accepted run.

    Where a setting that shapes features has changed since (`meant`), a move is what somebody asked
    for: it is reported and stops nobody.
    """
    limits = config.features.expectations.drift
    few = min(then.rows, now.rows) < limits.minimum_rows

    def moved(what: str, value: float, limit: AtMost, setting: str, unit: str, why: str) -> Finding:
        severity, passed, bound = _verdict(value, limit)
        if meant and severity == "critical":
            severity, why = "warning", f"{why}; a setting that shapes features has changed"
        shown = percent(value) if unit == "%" else number(value)
        most = "any" if bound is None else f"at most {percent(bound) if unit == '%' else bound:}"
        return Finding(
            view=view,
            name=f"drift: {what}",
            severity="note" if few else severity,
            passed=passed or few,
            expected=most if not few else f"not judged below {limits.minimum_rows:,} rows",
            observed=shown,
            examples=(),
            why=why,
            setting=f"{DRIFT}.{setting}",
        )

    change = abs(now.rows - then.rows) / max(then.rows, 1)
    yield moved("number of rows", change, limits.rows, "rows", "%", "who is known at all")
    for name in sorted(then.missing.keys() & now.missing.keys()):
        gap = abs(now.missing[name] - then.missing[name])
        why = f"said nothing in {percent(then.missing[name])} of the rows then, "
        why += f"{percent(now.missing[name])} now"
        if then.missing[name] or now.missing[name]:
            yield moved(f"{name} is missing", gap, limits.missing, "missing", "%", why)
    for name, values in figures(view, table, as_of_ms):
        if name in then.figures:
            index = then.figures[name].moved(values)
            before, after = then.figures[name], now.figures.get(name)
            why = f"mean {number(before.mean)} then, "
            why += f"{number(after.mean) if after else 'nothing'} now"
            setting = limit_of(view, name)
            yield moved(name, index, getattr(limits, setting), setting, "", why)
    if then.mix and now.mix:
        index = population_stability_index(then.mix, now.mix)
        yield moved("event types", index, limits.psi, "psi", "", "what histories are made of")
    for name in sorted(then.encoders.keys() & now.encoders.keys()):
        same = then.encoders[name] == now.encoders[name]
        yield Finding(
            view,
            f"drift: {name}",
            "warning",
            same,
            then.encoders[name],
            now.encoders[name],
            (),
            "models made for other vectors must not be asked with these",
            "features.text",
        )


def _verdict(
    value: float, limit: AtMost
) -> tuple[Literal["critical", "warning"], bool, float | None]:
    """Return how bad a value is, whether it keeps to the limits, and the limit that matters."""
    if limit.fail is not None and value > limit.fail:
        return "critical", False, limit.fail
    if limit.warn is not None and value > limit.warn:
        return "warning", False, limit.warn
    bound = limit.fail if limit.warn is None else limit.warn
    return "critical" if limit.warn is None and limit.fail is not None else "warning", True, bound


def _message(judged: Judged) -> str:
    critical = judged.critical
    many = "an expectation" if len(critical) == 1 else f"{len(critical)} expectations"
    lines = [f"the features of {judged.profile.data_version} broke {many}:"]
    for found in critical[:_MOST_NAMED]:
        lines.append(f"  {found.view}: {found.name}: {found.observed}; expected {found.expected}")
        if found.examples:
            lines.append(f"    e.g. {', '.join(found.examples)}")
    if len(critical) > _MOST_NAMED:
        lines.append(f"  … and {len(critical) - _MOST_NAMED} more")
    return "\n".join(lines)


def _hint(critical: tuple[Finding, ...], report: Path | None) -> str:
    settings = sorted({found.setting for found in critical if found.setting})
    read = f"read {report}; " if report else ""
    change = f"change {', '.join(settings)} if this is meant; " if settings else ""
    return f"{read}{change}nothing was published, what was served still is"
