"""S3 and everything that speaks its protocol, through boto3.

Integrity: every object is sent with a SHA-256 checksum that the server verifies, and files carry
their own SHA-256 as metadata, which `download` verifies end to end (S3's checksum of a multipart
object is one of its parts, and is not checked when a download is split into ranges).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from recommender.errors import StorageError
from recommender.files import atomic_file
from recommender.progress import Progress
from recommender.storage.local import uploads
from recommender.storage.s3_client import is_conflict, s3_client
from recommender.storage.s3_errors import translated
from recommender.storage.store import (
    Blob,
    Entry,
    StorageConflictError,
    Store,
    Version,
    below,
    checked_key,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHECKSUM: Literal["SHA256"] = "SHA256"
_METADATA = "sha256"
_TELL_FROM_BYTES = 8 << 20


class S3Store(Store):
    """Objects below `s3://bucket/prefix`.

    Args:
        location: `s3://bucket[/prefix]`.
        multipart_bytes: files from this size on travel in parts of this size, four at a time.
        timeout_s: longest wait for a connection; a dead endpoint is given up after four tries.

    Raises:
        StorageError: the location names no bucket.
    """

    def __init__(
        self, location: str, *, multipart_bytes: int = 8 << 20, timeout_s: float = 5.0
    ) -> None:
        bucket, _, prefix = location[len("s3://") :].partition("/")
        if not bucket:
            raise StorageError(f"{location!r} names no bucket", "write s3://bucket/prefix")
        self.bucket = bucket
        self.root = prefix.strip("/")
        self.location = f"s3://{bucket}/{self.root}".rstrip("/")
        self._timeout_s = timeout_s
        self._transfer = TransferConfig(
            multipart_threshold=multipart_bytes,
            multipart_chunksize=multipart_bytes,
            max_concurrency=4,
        )
        self._cached_client: S3Client | None = None

    @property
    def _client(self) -> S3Client:
        # Made at first use: boto3 looks for credentials and the region then, not at import.
        if self._cached_client is None:
            with translated(self.location):
                self._cached_client = s3_client(self._timeout_s)
        return self._cached_client

    def _name(self, key: str) -> str:
        return f"{self.root}/{checked_key(key)}" if self.root else checked_key(key)

    def _uri(self, key: str) -> str:
        return f"{self.location}/{key}"

    def stat(self, key: str) -> Entry | None:
        """See `Store.stat`."""
        head = self._head(key)
        return Entry(key, head["ContentLength"], head["ETag"]) if head else None

    def _head(self, key: str) -> Any | None:
        name = self._name(key)
        with translated(self._uri(key)):
            try:
                return self._client.head_object(Bucket=self.bucket, Key=name)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                    raise
                # A HEAD has no body that says whether the key or the bucket is missing.
                self._client.head_bucket(Bucket=self.bucket)
                return None

    def read(self, key: str) -> Blob:
        """See `Store.read`."""
        name = self._name(key)
        with translated(self._uri(key)):
            answer = self._client.get_object(Bucket=self.bucket, Key=name)
            return Blob(answer["Body"].read(), answer["ETag"])

    def write_bytes(
        self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None
    ) -> str:
        """See `Store.write_bytes`."""
        name = self._name(key)
        condition: dict[str, Any] = {}
        if if_absent:
            condition["IfNoneMatch"] = "*"
        if if_match is not None:
            condition["IfMatch"] = if_match
        with translated(self._uri(key)):
            try:
                answer = self._client.put_object(
                    Bucket=self.bucket,
                    Key=name,
                    Body=data,
                    ChecksumAlgorithm=_CHECKSUM,
                    Metadata={_METADATA: hashlib.sha256(data).hexdigest()},
                    **condition,
                )
            except ClientError as error:
                if not is_conflict(error, if_match):
                    raise
                if error.response["ResponseMetadata"].get("RetryAttempts", 0):
                    # The first try may have been stored and only its answer lost.
                    ours = self.read(key)
                    if ours.data == data:
                        return ours.etag
                what = "is there already" if if_absent else "was changed by somebody else"
                raise StorageConflictError(f"{self._uri(key)} {what}") from error
            return answer["ETag"]

    def list(self, prefix: str = "") -> tuple[Entry, ...]:
        """See `Store.list`."""
        folder = f"{self._name(prefix)}/" if prefix else (f"{self.root}/" if self.root else "")
        start = len(self.root) + 1 if self.root else 0
        entries = []
        with translated(f"{self.location}/{prefix}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=folder
            )
            for page in pages:
                for item in page.get("Contents", ()):
                    key = item["Key"][start:]
                    # Names that end in "/" are how consoles show empty folders.
                    if not key.endswith("/") and not _hidden(key):
                        entries.append(Entry(key, item["Size"], item["ETag"]))
        return tuple(sorted(entries, key=lambda entry: entry.key))

    def download(self, prefix: str, folder: Path) -> tuple[Path, ...]:
        """See `Store.download`."""
        single = self.stat(prefix) if prefix else None
        entries = (single,) if single else self.list(prefix)
        if not entries:
            raise StorageError(
                f"nothing lies at {self._uri(prefix)}", "check the bucket and the prefix"
            )
        tell = _teller(f"download {self._uri(prefix)}", sum(entry.size for entry in entries))
        return tuple(
            sorted(self._fetch(e.key, folder / below(prefix, e.key), tell) for e in entries)
        )

    def _fetch(self, key: str, target: Path, tell: Callable[[int], None] | None) -> Path:
        name = self._name(key)
        with atomic_file(target) as temporary, translated(self._uri(key)):
            head = self._head(key)
            if head is None:
                raise StorageError(f"{self._uri(key)} does not exist")
            self._client.download_file(
                self.bucket, name, str(temporary), Config=self._transfer, Callback=tell
            )
            temporary.chmod(0o644)
            if temporary.stat().st_size != head["ContentLength"]:
                raise StorageError(
                    f"{self._uri(key)}: {head['ContentLength']} bytes were promised, "
                    f"{temporary.stat().st_size} came",
                    "it was changed meanwhile or the connection broke; run again",
                )
            wanted = head["Metadata"].get(_METADATA)
            if wanted and _sha256(temporary) != wanted:
                raise StorageError(
                    f"{self._uri(key)} does not have the checksum it was stored with",
                    "the object is damaged or was replaced by hand; store it again",
                )
        return target

    def upload(self, folder: Path, prefix: str) -> tuple[Entry, ...]:
        """See `Store.upload`."""
        paths = uploads(folder)
        tell = _teller(f"upload {self._uri(prefix)}", sum(path.stat().st_size for path in paths))
        entries = []
        for path in paths:
            name = path.name if path == folder else path.relative_to(folder).as_posix()
            key = f"{prefix}/{name}" if prefix else name
            with translated(self._uri(key)):
                self._client.upload_file(
                    str(path),
                    self.bucket,
                    self._name(key),
                    Config=self._transfer,
                    Callback=tell,
                    ExtraArgs={
                        "ChecksumAlgorithm": _CHECKSUM,
                        "Metadata": {_METADATA: _sha256(path)},
                    },
                )
            stored = self.stat(key)
            if stored is None or stored.size != path.stat().st_size:
                raise StorageError(f"{self._uri(key)} was not stored completely", "run again")
            entries.append(stored)
        return tuple(entries)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        with translated(self._uri(key)):
            self._client.delete_object(Bucket=self.bucket, Key=self._name(key))

    def history(self, prefix: str = "") -> tuple[Version, ...]:
        """See `Store.history`."""
        folder = f"{self._name(prefix)}/" if prefix else (f"{self.root}/" if self.root else "")
        return self._versions(folder)

    def read_version(self, version: Version) -> bytes:
        """See `Store.read_version`."""
        with translated(self._uri(version.key)):
            answer = self._client.get_object(
                Bucket=self.bucket, Key=self._name(version.key), VersionId=version.id
            )
            return answer["Body"].read()

    def expunge(self, key: str, *, keep_current: bool = False) -> int:
        """See `Store.expunge`."""
        name = self._name(key)
        gone = [
            version
            for version in self._versions(name)
            if version.key == key and not (keep_current and version.current)
        ]
        with translated(self._uri(key)):
            # Whatever hides an old version goes after it, or readers would get that for a moment.
            for version in sorted(gone, key=lambda each: (each.marker, each.current)):
                self._client.delete_object(Bucket=self.bucket, Key=name, VersionId=version.id)
        return len(gone)

    def _versions(self, start: str) -> tuple[Version, ...]:
        """Return every version of the objects whose names begin with `start`."""
        skip = len(self.root) + 1 if self.root else 0
        found = []
        with translated(f"s3://{self.bucket}/{start}"):
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self.bucket, Prefix=start
            )
            for page in pages:
                for marker, items in (
                    (False, page.get("Versions", ())),
                    (True, page.get("DeleteMarkers", ())),
                ):
                    found += [
                        Version(each["Key"][skip:], each["VersionId"], each["IsLatest"], marker)
                        for each in items
                        if not each["Key"].endswith("/")
                    ]
        return tuple(found)


def _hidden(key: str) -> bool:
    return any(part.startswith(".") or not part for part in key.split("/"))


def _teller(label: str, total: int) -> Callable[[int], None] | None:
    """Return what the transfer's threads call with the bytes they moved."""
    if total < _TELL_FROM_BYTES:
        return None
    progress, lock = Progress(label, total), threading.Lock()

    def tell(count: int) -> None:
        with lock:
            progress.advance(count)

    return tell


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
