"""Downloads over HTTPS, through pooch: whole or not at all, and checked against a checksum."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from recommender.errors import SourceError, StorageError
from recommender.progress import Progress

_TRIES = 3
_TIMEOUT_S = 20


def shown(url: str) -> str:
    """Return a URL without credentials and query, fit for messages and manifests."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def download(url: str, folder: Path, sha256: str | None) -> Path:
    """Fetch a file once; later calls find it in `folder`.

    A file that is there was complete when it came: it is moved to its name only after its length
    and, where given, its checksum were right. An interrupted download starts anew.

    Args:
        url: https only.
        folder: of downloads.
        sha256: expected checksum, or None.

    Raises:
        SourceError: not https, no such file, wrong checksum, or the server can't be reached.
        StorageError: the disk is full.
    """
    if urlsplit(url).scheme != "https":
        raise SourceError(f"{shown(url)}: downloads are https only")
    name = PurePosixPath(unquote(urlsplit(url).path)).name or "download"
    target = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}"
    if target.exists() and sha256 is None:
        return target
    for attempt in range(_TRIES):
        problem = _try(url, target, sha256)
        if problem is None:
            return target
        if attempt + 1 < _TRIES:
            time.sleep(0.5 * 2**attempt)
    raise SourceError(
        f"{shown(url)} could not be fetched in {_TRIES} tries: {problem}",
        "check the address and the network, or download it by hand and give its path",
    )


def _try(url: str, target: Path, sha256: str | None) -> Exception | None:
    """Download once; return what went wrong if another try may help."""
    import pooch  # with requests a third of a second, needed for downloads only
    from requests import exceptions

    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(
        progressbar=_Bar(f"download {shown(url)}"),
        timeout=_TIMEOUT_S,
        hooks={"response": _stays_secure},
    )
    try:
        pooch.retrieve(
            url,
            known_hash=None if sha256 is None else f"sha256:{sha256}",
            fname=target.name,
            path=target.parent,
            downloader=downloader,
        )
    except exceptions.SSLError as error:
        raise SourceError(
            f"{shown(url)}: its certificate is not trusted: {error}",
            "REQUESTS_CA_BUNDLE names the authorities that are trusted",
        ) from error
    except exceptions.HTTPError as error:
        status = error.response.status_code
        if status < 500:
            raise SourceError(
                f"{shown(url)}: the server says {status} {error.response.reason}",
                "check the address; a browser should be able to download it",
            ) from None
        return SourceError(f"the server says {status}")
    except exceptions.RequestException as error:  # refused, timed out, broke off half-way
        return error
    except ValueError as error:
        if "hash" not in str(error).lower():
            raise
        raise SourceError(
            f"{shown(url)} does not have the SHA-256 that source.sha256 says ({sha256})",
            "the file was changed or the checksum is of another one; nothing was kept",
        ) from None
    except OSError as error:
        raise StorageError(
            f"cannot write {target}: {error.strerror or error}", "free some space and run again"
        ) from error
    return None


class _Bar:
    """What pooch takes for a tqdm bar."""

    total = 0

    def __init__(self, label: str) -> None:
        self._label = label
        self._progress: Progress | None = None
        self._full = False

    def update(self, count: int) -> None:
        """Count bytes; before the first ones pooch has set `total`."""
        if self._progress is None:
            self._progress = Progress(self._label, self.total or None)
        if not self._full:
            self._progress.advance(count)

    def reset(self) -> None:
        """Take no more: pooch resets a bar only to fill it up when everything has come."""
        self._full = True

    def close(self) -> None:
        """Do nothing: no handle is held."""


def _stays_secure(response: Any, **_: Any) -> None:
    """Refuse what a redirect to plain HTTP answered."""
    if urlsplit(response.url).scheme != "https":
        raise SourceError(f"{shown(response.url)}: the server redirects to plain http")
