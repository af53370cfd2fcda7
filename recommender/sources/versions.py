"""Immutable versions of the canonical tables, named by what they say.

    <data>/versions/<data version>/   events, items, users (follows).parquet, manifest.json
    <data>/inputs/<fingerprint>.json  which raw files and mapping gave which version

The fingerprint covers the raw files' hashes, the mapping and our own reading code, so a run on
the same input knows its version without reading a row.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recommender.config import Config
from recommender.errors import SourceError, StorageError
from recommender.files import atomic_directory, read_json, write_json
from recommender.forgetting.suppression import Suppressions
from recommender.sources.archive import sha256
from recommender.sources.content import content_hash, data_version
from recommender.sources.fetch import drop_copies, shown_location
from recommender.sources.read import Source
from recommender.sources.report import IngestReport
from recommender.tables import OPTIONAL, SCHEMAS, Tables, optional_in, schema_of

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class DataVersion:
    """A version of the canonical tables.

    Attributes:
        name: `d-` and 12 hex digits.
        folder: of its files.
        unchanged: it was there before.
        report: what became of the raw rows when this input was read.
    """

    name: str
    folder: Path
    unchanged: bool
    report: IngestReport


@dataclass(frozen=True)
class Streamed:
    """Events that came one by one since the source was written, to be added to its tables.

    Attributes:
        digest: of these events; another digest is another input.
        add: returns the tables with them, and what became of them in words.
    """

    digest: str
    add: Callable[[Tables], tuple[Tables, str]]

    @classmethod
    def together(cls, parts: Sequence[Streamed]) -> Streamed:
        """Return several of these as one, added in their order."""
        if len(parts) == 1:
            return parts[0]

        def add(tables: Tables) -> tuple[Tables, str]:
            said = []
            for part in parts:
                tables, told = part.add(tables)
                said.append(told)
            return tables, "; ".join(said)

        return cls(" ".join(part.digest for part in parts), add)


def ingest(config: Config, streamed: Streamed | None = None) -> DataVersion:
    """Turn the configured source into a data version; the same input is not read twice.

    Whoever asked to be forgotten is left out and counted. Since the raw files still name them, no
    copy of those is kept once somebody is on the suppression list: they are fetched each time.

    Args:
        config: of the data set.
        streamed: events that the source doesn't hold yet.

    Raises:
        SourceError: the source or its mapping is wrong.
        StorageError: S3 refuses or can't be reached, or the disk is full; nothing is left over.
        ConfigError: the suppression list was written with another pseudonym key.
    """
    suppressed = Suppressions(config.paths).digest
    try:
        return _ingest(Source.open(config), suppressed, streamed)
    finally:
        if suppressed:
            drop_copies(config.paths.cache)


def _ingest(source: Source, suppressed: str, streamed: Streamed | None) -> DataVersion:
    config = source.config
    root = config.paths.data
    fingerprint = _fingerprint(source, suppressed, streamed.digest if streamed else "")
    record = root / "inputs" / f"{fingerprint}.json"
    if record.exists():
        known = read_json(record)
        folder = folder_of(root, known["data_version"])
        if intact(folder):
            report = IngestReport.from_dict(known["report"])
            return DataVersion(known["data_version"], folder, True, report)
    tables, report = source.read()
    if streamed:
        tables, said = streamed.add(tables)
        report.notes.append(said)
    name = data_version(tables)
    folder = folder_of(root, name)
    unchanged = intact(folder)
    if not unchanged:
        _write(folder, name, tables, report, config)
    write_json(record, {"data_version": name, "report": report.to_dict()})
    return DataVersion(name, folder, unchanged, report)


def folder_of(root: Path, name: str) -> Path:
    """Return the folder of a data version.

    Args:
        root: `Workspace.data`.
        name: of the version.
    """
    return root / "versions" / name


def intact(folder: Path) -> bool:
    """Tell whether a version's folder is complete and its files are those it was written with."""
    if not (folder / MANIFEST).is_file():
        return False
    try:
        tables = read_json(folder / MANIFEST)["tables"]
        names = (*SCHEMAS, *(name for name in OPTIONAL if name in tables))
        return all(
            sha256(folder / tables[name]["file"]) == tables[name]["sha256"] for name in names
        )
    except (SourceError, StorageError, KeyError, TypeError):
        return False


def files_in(folder: Path) -> tuple[str, ...]:
    """Return the names of a version's files, the manifest last."""
    return (*(f"{name}.parquet" for name in (*SCHEMAS, *optional_in(folder))), MANIFEST)


def hand_over(version: DataVersion, folder: Path) -> None:
    """Put a version's files into another folder: as links where possible, else as copies.

    Raises:
        StorageError: the folder can't be written.
    """
    with atomic_directory(folder) as temporary:
        for name in files_in(version.folder):
            source, target = version.folder / name, temporary / name
            try:
                target.hardlink_to(source)
            except OSError:  # another file system, or one without links
                shutil.copyfile(source, target)


def _write(folder: Path, name: str, tables: Tables, report: IngestReport, config: Config) -> None:
    with atomic_directory(folder) as temporary:
        tables.write(temporary)
        described: dict[str, Any] = {}
        for table in tables.names:
            path = temporary / f"{table}.parquet"
            path.chmod(0o644)
            described[table] = {
                "file": path.name,
                "rows": getattr(tables, table).num_rows,
                "schema": {field.name: str(field.type) for field in schema_of(table, ())},
                "content_sha256": content_hash(getattr(tables, table)),
                "sha256": sha256(path),
                "bytes": path.stat().st_size,
            }
        manifest = {
            "format": FORMAT,
            "data_version": name,
            "tables": described,
            "report": report.to_dict(),
            "created_from": {"name": config.name, "seed": config.seed, "source": _shown(config)},
        }
        write_json(temporary / MANIFEST, manifest)


def _fingerprint(source: Source, suppressed: str, streamed: str) -> str:
    config = source.config
    said: dict[str, Any] = {
        "source": config.source.model_dump(mode="json"),
        # Only generated data depends on the seed.
        "seed": config.seed if source.raw is None else None,
        "files": [[file.name, file.sha256] for file in source.files],
        "code": _code(),
        "format": FORMAT,
    }
    if suppressed:
        said["suppressed"] = suppressed
    if streamed:
        said["streamed"] = streamed
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _code() -> str:
    """Return a hash of the code that reads sources: what it does to rows may change with it."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in [here.parent / "tables.py", *sorted(here.rglob("*.py"))]:
        digest.update(path.relative_to(here.parent).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _shown(config: Config) -> Any:
    """Return the source section with locations that hold no credentials."""

    def shown(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: shown_location(inner) if key == "location" else shown(inner)
                for key, inner in value.items()
            }
        return [shown(inner) for inner in value] if isinstance(value, list) else value

    return shown(config.source.model_dump(mode="json"))
