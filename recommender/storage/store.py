"""The interface of a store, and how a location becomes one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from recommender.errors import StorageError


class StorageConflictError(StorageError):
    """A conditional write lost: somebody else wrote the object first. Read again and retry."""


@dataclass(frozen=True)
class Entry:
    """One stored object.

    Attributes:
        key: its name below the store's location, with `/` between parts.
        size: bytes.
        mark: differs when the object differs (S3's ETag; size and time of a file). Good for
            caches; conditions of a write take the `etag` of a `Blob`.
    """

    key: str
    size: int
    mark: str


@dataclass(frozen=True)
class Blob:
    """An object's content and the `etag` that a later `write_bytes(if_match=…)` takes."""

    data: bytes
    etag: str


@dataclass(frozen=True)
class Version:
    """One version of an object in a store that keeps old ones.

    Attributes:
        key: of the object.
        id: of the version.
        current: whether it is what readers get.
        marker: whether it only says that the object was deleted.
    """

    key: str
    id: str
    current: bool
    marker: bool


class Store(ABC):
    """Objects below one location.

    Keys are relative, with `/` between parts; no part may be empty or start with a dot (names
    with a leading dot are ours: temporary files and locks). A reader never sees half an object.

    Attributes:
        location: as a person would write it, without credentials.
    """

    location: str

    def exists(self, key: str) -> bool:
        """Tell whether an object of exactly this name is there.

        Raises:
            StorageError: the store can't be asked (forbidden, unreachable, no such bucket).
        """
        return self.stat(key) is not None

    def read_bytes(self, key: str) -> bytes:
        """Return the content of an object; errors as in `read`."""
        return self.read(key).data

    @abstractmethod
    def stat(self, key: str) -> Entry | None:
        """Return what is known of an object without reading it, or None where there is none."""

    @abstractmethod
    def read(self, key: str) -> Blob:
        """Return the content of an object with its etag.

        Raises:
            StorageError: it is missing, forbidden, damaged, or the store can't be reached.
        """

    @abstractmethod
    def write_bytes(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        """Write an object at once and return its etag.

        Args:
            key: its name.
            data: its content.
            if_absent: write only if no object of this name is there.
            if_match: write only if the object there has this etag (compare-and-swap).

        Raises:
            StorageConflictError: the condition does not hold; nothing was written.
            StorageError: forbidden, unreachable, disk full; the object is as it was.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> tuple[Entry, ...]:
        """Return the objects in the folder `prefix` and below it, sorted by key."""

    @abstractmethod
    def download(self, prefix: str, folder: Path) -> tuple[Path, ...]:
        """Fetch the object `prefix`, or all objects in the folder `prefix`, into `folder`.

        Names below `prefix` are kept; a single object keeps its last name. Each file appears
        whole or not at all, and is checked against the checksum that `upload` recorded.

        Returns:
            the files written, sorted.

        Raises:
            StorageError: nothing is there, forbidden, damaged, unreachable, disk full.
        """

    @abstractmethod
    def upload(self, folder: Path, prefix: str) -> tuple[Entry, ...]:
        """Store every file of `folder` (or the one file `folder`) below `prefix`.

        Objects appear one by one: write the object that makes the rest count last, by
        `write_bytes`.

        Raises:
            StorageError: a file can't be read or stored.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; one that isn't there is no error."""

    @abstractmethod
    def history(self, prefix: str = "") -> tuple[Version, ...]:
        """Return every version of the objects below a folder, current ones and markers included.

        Empty where the store keeps no old versions.
        """

    @abstractmethod
    def read_version(self, version: Version) -> bytes:
        """Return the content of an old version; errors as in `read`."""

    @abstractmethod
    def expunge(self, key: str, *, keep_current: bool = False) -> int:
        """Remove an object for good, with every version and marker of it that the store keeps.

        Args:
            key: its name.
            keep_current: leave what readers get, and remove only what it was before.

        Returns:
            how many versions went.

        Raises:
            StorageError: a version may not be deleted (a lock, missing rights).
        """


def open_store(location: str | Path) -> Store:
    """Return the store at a location; nothing is contacted yet.

    Args:
        location: a path, `file:///path` or `s3://bucket[/prefix]`. Credentials, region and the
            endpoint of S3 come from where boto3 looks for them (`AWS_ACCESS_KEY_ID`,
            `AWS_ENDPOINT_URL_S3`, `~/.aws`, the pod's role …).

    Raises:
        StorageError: a scheme we don't speak, or no bucket.
    """
    text = str(location)
    if is_s3(text):
        # boto3 takes a third of a second to import, so only where S3 is meant.
        from recommender.storage.s3 import S3Store

        return S3Store(text)
    from recommender.storage.local import FileStore

    return FileStore(local_path(text))


def is_s3(location: str) -> bool:
    """Tell whether a location names S3."""
    return location.lower().startswith("s3://")


def local_path(location: str) -> Path:
    """Return the path that a plain path or a `file://` URL means.

    Raises:
        StorageError: it is a URL of another scheme, or of another host.
    """
    if "://" not in location:
        return Path(location).expanduser()
    parts = urlsplit(location)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise StorageError(
            f"{location} is not a place we can store at", "give a path, file:///… or s3://bucket/…"
        )
    return Path(unquote(parts.path))


def checked_key(key: str) -> str:
    """Return `key` if it can name an object.

    Raises:
        StorageError: it is empty, absolute, or has a part that is empty or starts with a dot.
    """
    parts = key.split("/")
    if any(not part or part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        raise StorageError(
            f"{key!r} can't name an object", "no part may be empty or start with a dot"
        )
    return key


def below(prefix: str, key: str) -> PurePosixPath:
    """Return the part of `key` below the folder `prefix`; its own name if they are the same."""
    path = PurePosixPath(key)
    return PurePosixPath(path.name) if key == prefix else path.relative_to(prefix or ".")
