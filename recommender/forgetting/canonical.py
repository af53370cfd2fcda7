"""A person's rows in data versions: each version that held them is replaced by one without.

A version is named by its content, so it can't be changed: a new one is written beside it, and then
the old one goes. The new one is what an ingest would make that leaves the person out, to the name.
`<data>/replaced.json` says which version took the place of which, for whoever meets an old name.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recommender.errors import SourceError, StorageError
from recommender.files import atomic_directory, read_json, write_json
from recommender.forgetting import forms
from recommender.forgetting.person import Person
from recommender.forgetting.removed import NOTHING, Removed
from recommender.quality.accepted import NAME as ACCEPTED
from recommender.sources.archive import sha256
from recommender.sources.content import content_hash, data_version
from recommender.sources.versions import MANIFEST, files_in
from recommender.tables import Tables

REPLACED = "replaced.json"
_PEOPLE = ("events", "users", "follows")
"""Tables that name people; the last one only where there is a follow graph."""


def versions_with(data: Path, person: Person) -> tuple[str, ...]:
    """Return the names of the data versions that hold the person.

    Args:
        data: `Workspace.data`.
        person: who is looked for.
    """
    return tuple(folder.name for folder in _versions(data) if _holds(folder, person))


def replaced(data: Path) -> dict[str, str]:
    """Return which version took the place of which, old name to new."""
    path = data / REPLACED
    return {str(old): str(new) for old, new in read_json(path).items()} if path.exists() else {}


def latest(name: str, replaced_by: dict[str, str]) -> str:
    """Return what a data version is called now that people were taken out of it."""
    while name in replaced_by:
        name = replaced_by[name]
    return name


def erase(data: Path, person: Person) -> Removed:
    """Replace every version that holds the person; accepted and ingested names follow.

    Killed at any point, a second call finishes the work.

    Args:
        data: `Workspace.data`.
        person: who is to be forgotten.

    Raises:
        StorageError: a file can't be read or written.
    """
    done = NOTHING
    for folder in _versions(data):
        if not _readable(folder):
            # Ingest would not take it either: it makes a damaged version anew.
            done += Removed(files=sum(1 for path in folder.rglob("*") if path.is_file()))
            shutil.rmtree(folder)
        elif _holds(folder, person):
            done += _replace(data, folder, person)
    return done + _follow(data)


def erase_copy(folder: Path, person: Person, data: Path) -> Removed:
    """Take the person out of a copy of a version's tables that a step holds or repaired.

    Args:
        folder: with `events.parquet`, `users.parquet` … and `manifest.json`.
        person: who is to be forgotten.
        data: `Workspace.data`, where the version itself was replaced before.
    """
    done = NOTHING
    for name in _PEOPLE:
        path = folder / f"{name}.parquet"
        if path.exists() and (rows := forms.erase(path, person)):
            done += Removed(rows, 1)
    told = read_json(folder / MANIFEST)
    old = told.get("data_version", "")
    new = latest(old, replaced(data))
    if new != old:
        manifest = data / "versions" / new / MANIFEST
        write_json(
            folder / MANIFEST,
            read_json(manifest) if manifest.exists() else {**told, "data_version": new},
        )
        done += Removed(files=1)
    return done


def rename(path: Path, data: Path) -> Removed:
    """Let a JSON document that names data versions use the names they have now.

    Args:
        path: of the document; one that isn't there is left alone.
        data: `Workspace.data`.
    """
    names = replaced(data)
    if not names or not path.exists():
        return NOTHING
    found = re.compile("|".join(map(re.escape, names)))
    before = json.dumps(read_json(path), ensure_ascii=False)
    after = found.sub(lambda match: latest(match.group(), names), before)
    if after == before:
        return NOTHING
    write_json(path, json.loads(after))
    return Removed(files=1)


def _readable(folder: Path) -> bool:
    """Tell whether a version's tables can be read at all."""
    try:
        Tables.read(folder)
        read_json(folder / MANIFEST)
    except (StorageError, SourceError, pa.ArrowException):
        return False
    return True


def _versions(data: Path) -> Iterator[Path]:
    yield from sorted(path for path in (data / "versions").glob("d-*") if path.is_dir())


def _holds(folder: Path, person: Person) -> bool:
    paths = (folder / f"{name}.parquet" for name in _PEOPLE)
    return any(path.exists() and forms.count(path, person) for path in paths)


def without(tables: Tables, person: Person) -> Tables:
    """Return the tables without the person, their events, and whom and who they follow."""
    return replace(
        tables, **{name: _without(getattr(tables, name), person) for name in _among(tables)}
    )


def _among(tables: Tables) -> tuple[str, ...]:
    return tuple(name for name in _PEOPLE if name in tables.names)


def _without(table: pa.Table, person: Person) -> pa.Table:
    for column in ("user_id", "followed_user_id"):
        if column in table.column_names:
            table = table.filter(pc.not_equal(table[column], person.user_id).fill_null(True))
    return table


def _replace(data: Path, folder: Path, person: Person) -> Removed:
    whole = Tables.read(folder)
    tables = without(whole, person)
    name = data_version(tables)
    target = data / "versions" / name
    if not (target / MANIFEST).exists():
        _write(target, tables, read_json(folder / MANIFEST), folder.name)
    # Said before the old one goes: otherwise a kill in between would leave its name a riddle.
    write_json(data / REPLACED, {**replaced(data), folder.name: name})
    shutil.rmtree(folder)
    rows = sum(
        getattr(whole, each).num_rows - getattr(tables, each).num_rows for each in _among(whole)
    )
    return Removed(rows, len(files_in(target)))


def _write(folder: Path, tables: Tables, told: dict[str, Any], old: str) -> None:
    with atomic_directory(folder) as temporary:
        tables.write(temporary)
        described = dict(told["tables"])
        for table in tables.names:
            path = temporary / f"{table}.parquet"
            path.chmod(0o644)
            described[table] = {
                **described[table],
                "rows": getattr(tables, table).num_rows,
                "content_sha256": content_hash(getattr(tables, table)),
                "sha256": sha256(path),
                "bytes": path.stat().st_size,
            }
        manifest = {
            **told,
            "data_version": folder.name,
            "tables": described,
            "forgotten": told.get("forgotten", 0) + 1,
            "replaces": old,
        }
        write_json(temporary / MANIFEST, manifest)


def _follow(data: Path) -> Removed:
    """Let the accepted version and the memory of inputs follow the replacements."""
    done, names = NOTHING, replaced(data)
    accepted = data / ACCEPTED
    if accepted.exists():
        told = read_json(accepted)
        held = [record for record in (told.get("current"), told.get("previous")) if record]
        stale = [record for record in held if record["data_version"] in names]
        for record in stale:
            record["data_version"] = latest(record["data_version"], names)
        if stale:
            write_json(accepted, told)
            done += Removed(files=1)
    for path in sorted((data / "inputs").glob("*.json")):
        # The source still holds the person: the next ingest reads it again and leaves them out.
        if read_json(path).get("data_version") in names:
            path.unlink()
            done += Removed(files=1)
    return done
