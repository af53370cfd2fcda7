"""A person in a bucket: objects without them take the place of those with, old versions go.

A versioned bucket keeps what was overwritten and what was deleted. Of every object that held the
person all old versions and markers are removed for good, whichever of them it was that did.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recommender.forgetting import canonical, forms
from recommender.forgetting.artifacts import DATASET, EVALUATION_SET, erase_artifacts, files_of
from recommender.forgetting.person import Person
from recommender.forgetting.removed import NOTHING, Removed
from recommender.forgetting.scan import Scan, Trace
from recommender.sources.versions import MANIFEST
from recommender.storage import Store

_VERSION = re.compile(r"(?P<data>(?:.*/)?)versions/d-[0-9a-f]{12}/manifest\.json")
_UNITS = frozenset({DATASET, EVALUATION_SET, MANIFEST})
"""Files that tell of others beside them, with which they must agree."""

_LAST = (DATASET, EVALUATION_SET, MANIFEST, canonical.REPLACED)
"""Files that make others count, in the order in which they are written after those."""


def erase(store: Store, person: Person, data: Path, work: Path) -> Removed:
    """Take the person out of everything in a store, its old versions included.

    Killed at any point, a second call finishes the work.

    Args:
        store: a folder or a bucket: canonical tables, offline features, a registry …
        person: who is to be forgotten.
        data: `Workspace.data`, whose versions were replaced before.
        work: folder for copies while they are worked on; nothing stays in it.

    Raises:
        StorageError: something may not be read, written or deleted there.
    """
    done = NOTHING
    keys = [entry.key for entry in store.list()]
    roots = {match["data"].rstrip("/") for key in keys if (match := _VERSION.fullmatch(key))}
    for root in sorted(roots):
        done += _erase_tables(store, root, person, work)
    folders = {key.rpartition("/")[0] for key in keys if key.rpartition("/")[2] in _UNITS}
    for folder in sorted(folders):
        if not _VERSION.fullmatch(f"{folder}/{MANIFEST}"):
            done += _erase_unit(store, folder, person, data, work)
    for entry in store.list():
        done += _erase_object(store, entry.key, person, work)
    return done + _erase_history(store, person, work)


def scan(store: Store, person: Person, work: Path) -> Scan:
    """Look for the person in every object of a store, its old versions included."""
    told = Scan()
    for entry in store.list():
        told += _looked_at(store.read_bytes(entry.key), entry.key, store, person, work)
    for version in store.history():
        if not version.current and not version.marker:
            told += _looked_at(store.read_version(version), version.key, store, person, work)
    return told


def _erase_tables(store: Store, root: str, person: Person, work: Path) -> Removed:
    """Replace the data versions below `root`, as in a folder, and bring the changes back."""
    with _mirrored(store, root, _is_table, work) as copy:
        return canonical.erase(copy, person)


def _is_table(name: str) -> bool:
    return name.startswith(("versions/", "inputs/")) or "/" not in name


def _erase_unit(store: Store, folder: str, person: Person, data: Path, work: Path) -> Removed:
    """Take the person out of files that must agree: a data set, say."""
    with _mirrored(store, folder, lambda name: "/" not in name, work) as copy:
        return erase_artifacts(copy, person, data)


@contextmanager
def _mirrored(store: Store, root: str, wanted: Callable[[str], bool], work: Path) -> Iterator[Path]:
    """Yield a copy of a folder; what was changed or removed in it is brought back.

    Args:
        store: that holds the folder.
        root: the folder; "" for all of the store.
        wanted: by its name below `root`, whether a file is copied.
        work: folder for the copy.
    """
    prefix = f"{root}/" if root else ""
    with _room(work) as copy:
        for entry in store.list(root):
            name = entry.key.removeprefix(prefix)
            if wanted(name):
                store.download(entry.key, (copy / name).parent)
        before = _hashes(copy)
        yield copy
        after = _hashes(copy)
        changed = [name for name, told in after.items() if before.get(name) != told]
        for name in sorted(changed, key=_turn):
            store.write_bytes(f"{prefix}{name}", (copy / name).read_bytes())
            store.expunge(f"{prefix}{name}", keep_current=True)
        for name in sorted(before.keys() - after.keys(), key=_turn):
            store.expunge(f"{prefix}{name}")


def _turn(name: str) -> tuple[int, str]:
    last = Path(name).name
    return (_LAST.index(last) + 1 if last in _LAST else 0), name


def _erase_object(store: Store, key: str, person: Person, work: Path) -> Removed:
    with _room(work) as copy:
        path = copy / Path(key).name
        path.write_bytes(store.read_bytes(key))
        try:
            records = forms.erase(path, person)
        except forms.UnreadableError:
            return NOTHING  # the scan names it
        if not records:
            return NOTHING
        store.write_bytes(key, path.read_bytes())
    store.expunge(key, keep_current=True)
    return Removed(records, 1)


def _erase_history(store: Store, person: Person, work: Path) -> Removed:
    done = NOTHING
    current = {entry.key for entry in store.list()}
    checked: set[str] = set()
    for version in store.history():
        if version.current or version.marker or version.key in checked:
            continue
        data = store.read_version(version)
        if _looked_at(data, version.key, store, person, work).clean:
            continue
        checked.add(version.key)
        went = store.expunge(version.key, keep_current=version.key in current)
        done += Removed(files=went)
    return done


def _looked_at(data: bytes, key: str, store: Store, person: Person, work: Path) -> Scan:
    where = f"{store.location}/{key}"
    with _room(work) as copy:
        path = copy / Path(key).name
        path.write_bytes(data)
        kinds = {forms.form_of(path).value: 1}
        try:
            found = forms.count(path, person) + person.is_in_text(key)
        except forms.UnreadableError as error:
            return Scan((), (f"{where}: {error.__cause__}",), kinds, len(data))
        traces = (Trace(where, found),) if found else ()
        return Scan(traces, (), kinds, len(data))


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files_of(folder)
    }


@contextmanager
def _room(work: Path) -> Iterator[Path]:
    """Yield a folder for copies; its name tells a later run that it may be removed."""
    work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".work.", dir=work))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
