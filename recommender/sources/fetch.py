"""A location (path, `s3://…`, `https://…`) as files on this machine."""

from __future__ import annotations

import fnmatch
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from recommender.errors import SourceError, StorageError
from recommender.files import atomic_directory, read_json, write_json
from recommender.sources.archive import sha256, unpack
from recommender.sources.download import download, shown
from recommender.storage import Entry, Store, is_s3, local_path, open_store

_SHOWN_NAMES = 12
_S3, _DOWNLOADS, _UNPACKED = "s3", "downloads", "unpacked"


@dataclass(frozen=True)
class Fetched:
    """Files that lie on this machine now.

    Attributes:
        location: where they came from, without credentials and query.
        root: the folder they lie in.
        files: all of them, sorted by name.
    """

    location: str
    root: Path
    files: tuple[Path, ...]

    def name(self, path: Path) -> str:
        """Return a file's name within the location."""
        return path.relative_to(self.root).as_posix()

    def matching(self, pattern: str) -> tuple[Path, ...]:
        """Return the files whose name, or path within the location, fits a pattern.

        Raises:
            SourceError: none does; the message says which files there are.
        """
        found = tuple(
            path
            for path in self.files
            if fnmatch.fnmatch(path.name, pattern) or fnmatch.fnmatch(self.name(path), pattern)
        )
        if not found:
            raise SourceError(f"{self.location} has no file {pattern!r}; {self.listed()}")
        return found

    def listed(self) -> str:
        """Say which files there are, in a few words."""
        names = [self.name(path) for path in self.files]
        more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
        return f"it has {', '.join(names[:_SHOWN_NAMES])}{more}" if names else "it is empty"


def fetch(location: str, cache: Path, expected: str | None = None) -> Fetched:
    """Bring a location's files to this machine; what was fetched before is not fetched again.

    Args:
        location: a file, folder or zip: a path, `file://…`, `s3://bucket/prefix` or `https://…`.
        cache: folder for downloads, copies and unpacked zips.
        expected: SHA-256 that a single file must have.

    Raises:
        SourceError: nothing is there, a checksum is wrong, a zip is damaged.
        StorageError: S3 refuses or can't be reached, or the disk is full.
    """
    if is_s3(location):
        root = _from_s3(location, cache / _S3)
    elif location.startswith(("http://", "https://")):
        root = download(location, cache / _DOWNLOADS, expected)
    else:
        root = _local(location)
    if root.is_file():
        if expected is not None and sha256(root) != expected:
            raise SourceError(
                f"{shown_location(location)} does not have the SHA-256 that the configuration "
                f"says ({expected})",
                "the file was changed or the checksum is of another one",
            )
        if root.suffix.lower() == ".zip":
            root = unpack(root, cache / _UNPACKED)
    return _fetched(location, root)


def copies(cache: Path) -> tuple[Path, ...]:
    """Return the folders of `cache` that hold raw files, or what was in them, word for word."""
    return tuple(cache / name for name in (_S3, _DOWNLOADS, _UNPACKED))


def drop_copies(cache: Path) -> None:
    """Remove every raw file from `cache`; the next ingest fetches what it needs again.

    Raises:
        StorageError: a folder can't be removed.
    """
    for folder in copies(cache):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(f"cannot remove {folder}: {error.strerror or error}") from error


def shown_location(location: str) -> str:
    """Return a location without credentials and query."""
    return shown(location) if location.startswith(("http://", "https://")) else location


def _fetched(location: str, root: Path) -> Fetched:
    if root.is_file():
        return Fetched(shown_location(location), root.parent, (root,))
    files = (path for path in root.rglob("*") if path.is_file())
    visible = (p for p in files if not any(q.startswith(".") for q in p.relative_to(root).parts))
    return Fetched(shown_location(location), root, tuple(sorted(visible)))


def _local(location: str) -> Path:
    try:
        path = local_path(location).absolute()
    except StorageError as error:
        raise SourceError(error.message, "give a path, s3://bucket/prefix or https://…") from error
    if not path.exists():
        raise SourceError(
            f"{location} does not exist (looked for {path})",
            "a relative path starts at the folder the command runs in",
        )
    return path


def _from_s3(location: str, cache: Path) -> Path:
    """Copy an object or a prefix, unless the copy is still the same as what lies there."""
    bucket, _, key = location.rstrip("/")[len("s3://") :].partition("/")
    store = open_store(f"s3://{bucket}")
    entries = _entries(store, key)
    if not entries:
        raise SourceError(f"nothing lies at {location}", "check the bucket and the prefix")
    marks = {entry.key: [entry.mark, entry.size] for entry in entries}
    folder = cache / hashlib.sha256(location.encode()).hexdigest()[:16]
    record = folder / ".marks.json"
    # Written with the copy in one rename, so the marks never tell of another copy.
    if not (record.exists() and read_json(record) == marks):
        with atomic_directory(folder) as temporary:
            store.download(key, temporary)
            write_json(temporary / record.name, marks)
    single = len(entries) == 1 and entries[0].key == key
    return folder / Path(key).name if single else folder


def _entries(store: Store, key: str) -> tuple[Entry, ...]:
    single = store.stat(key) if key else None
    return (single,) if single else store.list(key)
