"""Canonical tables in, judged and repaired tables out; the accepted version moves on."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.boundary import Step, running
from recommender.errors import StorageError
from recommender.files import atomic_directory, read_json
from recommender.privacy import pseudonyms
from recommender.quality.accepted import Accepted, accept, baseline
from recommender.quality.report import HTML, JSON, described, write_reports
from recommender.quality.validation import Validation, validate

MANIFEST = "manifest.json"


def run(config: str, run_id: str, data: str, clean: str, docs: str) -> None:
    """Judge the canonical tables, repair them and accept them.

    `quality.json` and `validation.html` are written whatever the verdict, to the run's folder;
    `quality.json` to `clean` too.

    Args:
        config: the configuration as JSON.
        run_id: of this run.
        data: folder of the canonical tables and `manifest.json`.
        clean: folder that gets the repaired tables (only if the data passed), the manifest and
            `quality.json`.
        docs: folder that gets the Data Docs.

    Raises:
        SystemExit: a critical expectation is broken, or a file can't be read or written; the
            accepted version is as it was.
    """
    with running("validate", config, run_id) as step:
        version, accepted = _data_version(Path(data)), step.config.paths.data
        now = datetime.now(UTC)
        with atomic_directory(Path(docs)) as site:
            validation = validate(
                Path(data),
                step.config,
                data_version=version,
                now=now,
                against=baseline(accepted, version),
                pseudonym=pseudonyms(step.config.paths.keys).of,
                docs=site,
            )
        comparing = step.config.quality.drift.compare
        page = write_reports(validation, step.folder, comparing=comparing)
        _summarise(step, validation)
        with atomic_directory(Path(clean)) as folder:
            shutil.copyfile(step.folder / JSON, folder / JSON)
            if validation.cleaned is not None and not validation.critical:
                validation.cleaned.tables.write(folder)
                shutil.copyfile(Path(data) / MANIFEST, folder / MANIFEST)
        validation.sound(page)
        if validation.statistics is not None:
            moment = now.isoformat(timespec="seconds")
            accept(accepted, Accepted(version, moment, validation.statistics))


def _data_version(folder: Path) -> str:
    manifest = read_json(folder / MANIFEST)
    version = manifest.get("data_version") if isinstance(manifest, dict) else None
    if not isinstance(version, str) or not version:
        raise StorageError(
            f"{folder / MANIFEST} names no data_version", "run the ingest step again"
        )
    return version


def _summarise(step: Step, validation: Validation) -> None:
    told: dict[str, Any] = described(validation)
    step.summary |= {
        "verdict": told["verdict"],
        "data_version": told["data_version"],
        "against": told["against"],
        **told["counts"],
        "warned": [finding.name for finding in validation.warnings],
        "broken": [finding.name for finding in validation.critical],
        "rows_in": told["rows_in"],
        "rows_out": told["rows_out"],
        "removed": told["removed"],
        "imputed": {
            f"{record['table']}.{record['column']}": {
                key: record[key] for key in ("policy", "missing", "filled", "dropped", "left")
            }
            for record in told["imputed"]
        },
        "report": str(step.folder / HTML),
    }
