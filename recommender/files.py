"""Writing so that nothing is ever seen half-written: a temporary name, then a rename."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recommender.errors import StorageError


def _storage_error(error: OSError, path: Path) -> StorageError:
    hint = {
        errno.ENOSPC: "free some space on this disk and run again; nothing was left half-written",
        errno.EDQUOT: "this user's quota is used up; free some space and run again",
        errno.EFBIG: "files may not grow that large here (see ulimit -f); nothing was left over",
        errno.EACCES: "check the permissions of this folder",
        errno.EROFS: "this file system is read-only; choose another workspace",
    }.get(error.errno or 0, "")
    return StorageError(f"cannot write {path}: {error.strerror or error}", hint)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it takes the place of `path`.

    Raises:
        StorageError: the disk is full or the folder can't be written; `path` is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _storage_error(error, path) from error
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _storage_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it is renamed to `path`.

    An existing `path` is replaced only after the new folder is complete.

    Raises:
        StorageError: the disk is full or the folder can't be written; `path` is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise _storage_error(error, path) from error
    try:
        yield temporary
        old = path.with_name(f".{path.name}.old")
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.replace(old)
        temporary.chmod(0o755)
        try:
            temporary.replace(path)
        except OSError:
            if old.exists():
                old.replace(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise _storage_error(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as stable, human-readable JSON (sorted keys), atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n",
            encoding="utf-8",
        )
        temporary.chmod(0o644)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StorageError: the file is missing or isn't JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StorageError(f"{path} does not exist") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} is not valid JSON: {error}") from error


def _sync(path: Path) -> None:
    """Flush a file to disk, so that the rename can't overtake its content."""
    if path.is_file():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
