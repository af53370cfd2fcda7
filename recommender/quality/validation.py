"""The whole judgement of one data version: types, rows, repair, the log, the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from recommender.config import Config
from recommender.errors import DataQualityError
from recommender.progress import track
from recommender.quality import defects, frames, times
from recommender.quality.accepted import Accepted
from recommender.quality.clean import Cleaned, clean
from recommender.quality.columns import normalised
from recommender.quality.drift import drift
from recommender.quality.judge import Finding, Judge, Suite
from recommender.quality.statistics import Statistics
from recommender.quality.suites import events as event_rules
from recommender.quality.suites import follows as follow_rules
from recommender.quality.suites import items as item_rules
from recommender.quality.suites import users as user_rules
from recommender.quality.suites.events import events_suite
from recommender.quality.suites.follows import follows_suite
from recommender.quality.suites.items import items_suite
from recommender.quality.suites.log import log_suite
from recommender.quality.suites.schema import found, schema_suite
from recommender.quality.suites.users import users_suite
from recommender.tables import Tables, optional_in


@dataclass(frozen=True)
class Validation:
    """What validation found.

    Attributes:
        data_version: that was judged.
        judged_at: UTC.
        findings: one per expectation, suite by suite.
        rows_in: by table; empty where the types were wrong and no row was read.
        cleaned: the repaired tables; None where the types were wrong.
        statistics: of the repaired tables; None where the types were wrong.
        against: the accepted version it was compared with, if any.
        drift: figures of that comparison.
    """

    data_version: str
    judged_at: datetime
    findings: tuple[Finding, ...]
    rows_in: dict[str, int]
    cleaned: Cleaned | None
    statistics: Statistics | None
    against: Accepted | None
    drift: dict[str, float]

    @property
    def critical(self) -> tuple[Finding, ...]:
        """Broken critical expectations."""
        return tuple(f for f in self.findings if not f.passed and f.severity == "critical")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Broken warnings, less those whose critical twin is broken too."""
        worse = {finding.name for finding in self.critical}
        broken = (f for f in self.findings if not f.passed and f.severity == "warning")
        return tuple(finding for finding in broken if finding.name not in worse)

    @property
    def verdict(self) -> str:
        """One of `failed`, `passed with warnings`, `passed`."""
        if self.critical:
            return "failed"
        return "passed with warnings" if self.warnings else "passed"

    def sound(self, report: Path) -> Cleaned:
        """Return the repaired tables of data that passed.

        Args:
            report: where a person can read the details; named in the error.

        Raises:
            DataQualityError: a critical expectation is broken; it names every one (up to five),
                how many rows break it, and examples.
        """
        if self.critical or self.cleaned is None:
            raise DataQualityError(_message(self), _hint(self.critical, report))
        return self.cleaned


def validate(
    folder: Path,
    config: Config,
    *,
    data_version: str,
    now: datetime,
    against: Accepted | None,
    pseudonym: frames.Pseudonym,
    docs: Path | None,
) -> Validation:
    """Judge and repair the canonical tables in `folder`.

    The repaired tables keep the given user ids; findings, reports and Data Docs hold pseudonyms.

    Args:
        folder: `events.parquet`, `items.parquet`, `users.parquet`, perhaps `follows.parquet`.
        config: `quality`, `actions` and `split` are read.
        data_version: of these tables.
        now: the moment that nothing may lie after.
        against: the accepted version to compare with; None for the first one.
        pseudonym: turns a user id into a pseudonym.
        docs: folder to write the Data Docs into; None writes none.

    Raises:
        StorageError: a file is missing or unreadable.
        ConfigError: the policy for missing event types names an unknown type.
    """
    judge = Judge(config.quality.examples, data_version, now)
    schema = schema_suite(optional_in(folder))
    findings = judge.judge(Suite("schema", found(folder), schema))
    compared = against if config.quality.drift.compare else None
    if not all(finding.passed for finding in findings):
        if docs:
            judge.write_docs(docs)
        return Validation(data_version, now, findings, {}, None, None, compared, {})
    raw = Tables.read(folder)
    rows_in = {name: getattr(raw, name).num_rows for name in raw.names}
    for suite in track(_row_suites(raw, config, now, pseudonym), "judge rows", len(raw.names)):
        findings += judge.judge(suite)
    cleaned = clean(raw, config, now)
    statistics = Statistics.of(cleaned.tables, config.actions)
    moved = drift(compared.statistics, statistics) if compared else {}
    figures = {**_figures(statistics, cleaned, rows_in["events"], config), **moved}
    log = Suite("log", pd.DataFrame([figures]), log_suite(config, frozenset(moved)))
    findings += judge.judge(log)
    if docs:
        judge.write_docs(docs)
    return Validation(data_version, now, findings, rows_in, cleaned, statistics, compared, moved)


def _row_suites(
    raw: Tables, config: Config, now: datetime, pseudonym: frames.Pseudonym
) -> Iterable[Suite]:
    """Yield one table's suite at a time, so that only one frame is held in memory."""
    given = normalised(raw)
    shown = _pseudonymous(given, pseudonym)
    latest = datetime.fromtimestamp(defects.time_limits(config.quality, now)[1] / 1000, UTC)
    events = events_suite(config, latest)
    yield Suite("events", frames.events_frame(shown), events, event_rules.SHOWN)
    items = items_suite(config)
    yield Suite("items", frames.items_frame(given, config), items, item_rules.SHOWN)
    yield Suite("users", frames.users_frame(shown), users_suite(config), user_rules.SHOWN)
    if shown.follows is not None:
        follows = follows_suite(config, latest)
        yield Suite("follows", frames.follows_frame(shown), follows, follow_rules.SHOWN)


def _pseudonymous(given: Tables, pseudonym: frames.Pseudonym) -> Tables:
    follows = given.follows
    for end in ("user_id", "followed_user_id") if follows is not None else ():
        follows = frames.pseudonymous(follows, pseudonym, end)
    return Tables(
        frames.pseudonymous(given.events, pseudonym),
        given.items,
        frames.pseudonymous(given.users, pseudonym),
        follows,
    )


def _figures(
    statistics: Statistics, cleaned: Cleaned, rows: int, config: Config
) -> dict[str, float | str]:
    gone = sum(cleaned.removed["events"].values())
    absent = set(config.actions.types) - set(statistics.event_mix)
    return {
        "events": statistics.history_events,
        "users": statistics.users,
        "items": statistics.items,
        "distinct_times": statistics.distinct_times,
        "absent_types": len(absent),
        "largest_gap": statistics.largest_gap,
        "steps_back": times.steps_back(cleaned.tables.events),
        "removed": gone / rows if rows else 0.0,
        "can_be_cut": "no" if cleaned.horizon is None else "yes",
    }


_MOST_NAMED = 5


def _message(validation: Validation) -> str:
    critical = validation.critical
    many = (
        "a critical expectation" if len(critical) == 1 else f"{len(critical)} critical expectations"
    )
    lines = [f"data {validation.data_version} broke {many}:"]
    for finding in critical[:_MOST_NAMED]:
        lines.append(f"  {finding.name}: {finding.observed}; expected {finding.expected}")
        lines += [f"    e.g. {_line(example)}" for example in finding.examples]
    if len(critical) > _MOST_NAMED:
        lines.append(f"  … and {len(critical) - _MOST_NAMED} more")
    return "\n".join(lines)


def _line(example: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in example.items())


def _hint(critical: tuple[Finding, ...], report: Path) -> str:
    settings = sorted({finding.setting for finding in critical if finding.setting})
    change = f", or change {', '.join(settings)} if this is meant" if settings else ""
    return f"read {report}; mend the source{change}. Nothing was accepted."
