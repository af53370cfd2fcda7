"""A folder as a store: writes by rename under one lock, so conditions hold between processes."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recommender.errors import StorageError
from recommender.files import atomic_file
from recommender.storage.store import (
    Blob,
    Entry,
    StorageConflictError,
    Store,
    Version,
    below,
    checked_key,
)

_LOCK = ".store.lock"


class FileStore(Store):
    """Objects as files below a folder, which is made by the first write.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.location = str(self.root)

    def stat(self, key: str) -> Entry | None:
        """See `Store.stat`."""
        path = self.root / checked_key(key)
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _read_error(error, path) from error
        return _entry(key, found) if path.is_file() else None

    def read(self, key: str) -> Blob:
        """See `Store.read`."""
        path = self.root / checked_key(key)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _read_error(error, path) from error
        return Blob(data, _etag(data))

    def write_bytes(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        """See `Store.write_bytes`."""
        path = self.root / checked_key(key)
        with self._locked(), atomic_file(path) as temporary:
            temporary.write_bytes(data)
            temporary.chmod(0o644)
            if if_absent and path.exists():
                raise StorageConflictError(f"{path} is there already")
            if if_match is not None and self._current(path) != if_match:
                raise StorageConflictError(f"{path} was changed by somebody else")
        return _etag(data)

    def list(self, prefix: str = "") -> tuple[Entry, ...]:
        """See `Store.list`."""
        folder = self.root / checked_key(prefix) if prefix else self.root
        entries = []
        for path in _files(folder):
            try:
                entries.append(_entry(path.relative_to(self.root).as_posix(), path.stat()))
            except FileNotFoundError:
                continue  # removed while we looked
        return tuple(sorted(entries, key=lambda entry: entry.key))

    def download(self, prefix: str, folder: Path) -> tuple[Path, ...]:
        """See `Store.download`."""
        single = self.stat(prefix) if prefix else None
        entries = (single,) if single else self.list(prefix)
        if not entries:
            raise StorageError(f"nothing lies at {self.root / prefix}")
        written = []
        for entry in entries:
            target = folder / below(prefix, entry.key)
            _copy(self.root / entry.key, target)
            written.append(target)
        return tuple(sorted(written))

    def upload(self, folder: Path, prefix: str) -> tuple[Entry, ...]:
        """See `Store.upload`."""
        entries = []
        for path in uploads(folder):
            name = path.name if path == folder else path.relative_to(folder).as_posix()
            key = checked_key(f"{prefix}/{name}" if prefix else name)
            _copy(path, self.root / key)
            entries.append(_entry(key, (self.root / key).stat()))
        return tuple(entries)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        path = self.root / checked_key(key)
        try:
            if self.root.is_dir():
                with self._locked():
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot remove {path}: {error.strerror or error}") from error

    def history(self, prefix: str = "") -> tuple[Version, ...]:
        """See `Store.history`: a folder keeps no old versions."""
        del prefix
        return ()

    def read_version(self, version: Version) -> bytes:
        """See `Store.read_version`."""
        return self.read_bytes(version.key)

    def expunge(self, key: str, *, keep_current: bool = False) -> int:
        """See `Store.expunge`."""
        if keep_current or not self.exists(key):
            return 0
        self.delete(key)
        return 1

    def _current(self, path: Path) -> str | None:
        try:
            return _etag(path.read_bytes())
        except FileNotFoundError:
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other writers of this store out; the lock dies with its process."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(
                f"cannot write into {self.root}: {error.strerror or error}",
                "check that it is a folder and its permissions",
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def uploads(folder: Path) -> tuple[Path, ...]:
    """Return the files that an upload of `folder` (or of one file) stores, sorted.

    Raises:
        StorageError: there are none.
    """
    found = (folder,) if folder.is_file() else tuple(sorted(_files(folder)))
    if not found:
        raise StorageError(f"there is nothing to store in {folder}")
    return found


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent) / name for name in names if not name.startswith("."))


def _copy(source: Path, target: Path) -> None:
    with atomic_file(target) as temporary:
        try:
            reader = source.open("rb")
        except OSError as error:
            raise _read_error(error, source) from error
        with reader, temporary.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
        temporary.chmod(0o644)


def _entry(key: str, found: os.stat_result) -> Entry:
    return Entry(key, found.st_size, f"{found.st_size}-{found.st_mtime_ns}")


def _etag(data: bytes) -> str:
    # A hash of the content rather than a time: two writes may share a clock tick.
    return hashlib.sha256(data).hexdigest()


def _read_error(error: OSError, path: Path) -> StorageError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return StorageError(f"{path} does not exist")
    hint = "check the permissions of this file" if error.errno == errno.EACCES else ""
    return StorageError(f"cannot read {path}: {error.strerror or error}", hint)
