"""The report of a validation: `quality.json` for programs, `validation.html` for people."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recommender.files import atomic_file, write_json
from recommender.quality.judge import Finding
from recommender.quality.validation import Validation

JSON = "quality.json"
HTML = "validation.html"


def described(validation: Validation) -> dict[str, Any]:
    """Return a validation as plain JSON values: what `quality.json` holds.

    Keys: `verdict`, `data_version`, `judged_at`; `counts` of expectations; `expectations` (see
    `judge.Finding`); `rows_in`, `rows_out`, `removed` by table and reason; `blanked`;
    `added_users`; `imputed` (see `imputation.Imputed`); `fitted_before`; `against`, `drift`;
    `statistics`. After wrong types no row was read: `rows_in` and what follows are empty.
    """
    cleaned, against = validation.cleaned, validation.against
    left = cleaned.tables if cleaned else None
    tables = {name: getattr(left, name) for name in left.names} if left else {}
    return {
        "verdict": validation.verdict,
        "data_version": validation.data_version,
        "judged_at": _moment(validation.judged_at),
        "counts": {
            "expectations": len(validation.findings),
            "passed": sum(finding.passed for finding in validation.findings),
            "warnings": len(validation.warnings),
            "critical": len(validation.critical),
        },
        "expectations": [finding.to_dict() for finding in validation.findings],
        "rows_in": validation.rows_in,
        "rows_out": {name: table.num_rows for name, table in tables.items()},
        "removed": cleaned.removed if cleaned else {},
        "blanked": cleaned.blanked if cleaned else {},
        "added_users": cleaned.added_users if cleaned else 0,
        "imputed": [record.to_dict() for record in cleaned.imputed] if cleaned else [],
        "fitted_before": _cut(cleaned.horizon) if cleaned else None,
        "against": {"data_version": against.data_version, "accepted_at": against.accepted_at}
        if against
        else None,
        "drift": validation.drift,
        "statistics": validation.statistics.to_dict() if validation.statistics else None,
    }


def rendered(validation: Validation, *, comparing: bool) -> str:
    """Return the report as one HTML page that needs nothing else.

    Args:
        validation: what was found.
        comparing: whether the configuration asks for the comparison with the accepted version.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("recommender.quality", "."),
        autoescape=True,
        undefined=StrictUndefined,
    )
    suites: dict[str, list[Finding]] = {}
    for finding in validation.findings:
        suites.setdefault(finding.suite, []).append(finding)
    return environment.get_template("validation.html.j2").render(
        report=described(validation),
        broken=[*validation.critical, *validation.warnings],
        drift=[finding for finding in validation.findings if finding.name.startswith("drift: ")],
        suites=suites,
        comparing=comparing,
    )


def write_reports(validation: Validation, folder: Path, *, comparing: bool) -> Path:
    """Write `quality.json` and `validation.html` into `folder`; return the page's path."""
    write_json(folder / JSON, described(validation))
    page = folder / HTML
    with atomic_file(page) as temporary:
        temporary.write_text(rendered(validation, comparing=comparing), encoding="utf-8")
        temporary.chmod(0o644)
    return page


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _cut(time: int | None) -> str | None:
    return None if time is None else _moment(datetime.fromtimestamp(time / 1000, UTC))
