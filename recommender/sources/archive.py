"""Unpacking a zip so that no member ever lands outside its folder."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from recommender.errors import SourceError, StorageError
from recommender.files import atomic_directory
from recommender.progress import track


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex.

    Raises:
        SourceError: it can't be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(
            f"{path} can't be read: {error.strerror or error}", "check its permissions"
        ) from error


def unpack(archive: Path, cache: Path) -> Path:
    """Unpack a zip into a folder named after its content, once.

    Args:
        archive: the zip.
        cache: where unpacked folders lie.

    Raises:
        SourceError: it isn't a zip, is damaged, or a member would land outside the folder.
        StorageError: the disk is too full for what is in it.
    """
    folder = cache / sha256(archive)[:16]
    if folder.is_dir():
        return folder
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            targets = [_target(archive, member) for member in members]
            _check_room(archive, cache, sum(member.file_size for member in members))
            with atomic_directory(folder) as temporary:
                steps = zip(members, targets, strict=True)
                for member, target in track(steps, f"unpack {archive.name}", len(members)):
                    path = temporary / target
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with opened.open(member) as reader, path.open("wb") as writer:
                        shutil.copyfileobj(reader, writer, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise SourceError(
            f"{archive} is not a readable zip: {error}", "fetch it again; it may be truncated"
        ) from error
    except (NotImplementedError, RuntimeError) as error:  # odd compression, or a password
        raise SourceError(f"{archive} can't be unpacked: {error}", "unpack it by hand") from error
    return folder


def _target(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    target = PurePosixPath(member.filename.replace("\\", "/"))
    outside = target.is_absolute() or ".." in target.parts or ":" in target.parts[0]
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        raise SourceError(
            f"{archive}: its member {member.filename!r} would be written outside of the folder",
            "this is no ordinary data set; don't use it",
        )
    return target


def _check_room(archive: Path, cache: Path, needed: int) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise StorageError(
            f"{archive} holds {needed / 1e6:,.0f} MB, but {cache} has {free / 1e6:,.0f} MB left",
            "free some space or choose another workspace",
        )
