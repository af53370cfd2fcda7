"""What was done for one person, told without naming them.

The ticket follows from the id and the installation's key: whoever asked can be shown that this
certificate is about them, and nobody can find out from it who they are. The same file is the
record of work in progress: a run that was killed leaves what it had done, and the next one adds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recommender.errors import StorageError
from recommender.files import read_json, write_json
from recommender.forgetting.removed import NOTHING, Removed
from recommender.forgetting.scan import UNSEEN, Scan
from recommender.workspace import Workspace

FORMAT = 1


@dataclass(frozen=True)
class Certificate:
    """The state of one forgetting.

    Attributes:
        ticket: names it.
        data_set: by its name.
        asked: when it began, UTC, ISO 8601.
        proved: when the last scan found nothing; None: it never did.
        removed: by place.
        models: versions that saw the person, marked for retraining.
        scan: the last one.
    """

    ticket: str
    data_set: str
    asked: str
    proved: str | None = None
    removed: dict[str, Removed] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    scan: Scan = field(default_factory=Scan)

    def also(self, place: str, removed: Removed) -> Certificate:
        """Return it with more taken out of a place."""
        before = self.removed.get(place, NOTHING)
        return replace(self, removed={**self.removed, place: before + removed})

    def closed(self, scan: Scan) -> Certificate:
        """Return it with the result of a scan."""
        return replace(self, scan=scan, proved=now() if scan.clean else None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "format": FORMAT,
            "ticket": self.ticket,
            "data_set": self.data_set,
            "asked": self.asked,
            "proved": self.proved,
            "removed": {place: asdict(count) for place, count in self.removed.items()},
            "models_to_retrain": list(self.models),
            "scan": {
                "files": self.scan.files,
                "bytes": self.scan.size,
                "traces": len(self.scan.traces),
                "unreadable": len(self.scan.unreadable),
            },
            "not_seen_by_the_scan": list(UNSEEN),
        }


def path_of(paths: Workspace, ticket: str) -> Path:
    """Return the file of a certificate."""
    return paths.privacy / "certificates" / f"{ticket}.json"


def write(paths: Workspace, certificate: Certificate) -> Path:
    """Write a certificate, atomically; return its path."""
    path = path_of(paths, certificate.ticket)
    write_json(path, certificate.to_dict())
    return path


def begin(paths: Workspace, ticket: str, data_set: str) -> Certificate:
    """Return the certificate of a forgetting that was begun before, or a new one.

    Raises:
        StorageError: the one that is there can't be read.
    """
    path = path_of(paths, ticket)
    if not path.exists():
        return Certificate(ticket, data_set, now())
    told = read_json(path)
    try:
        return Certificate(
            told["ticket"],
            told["data_set"],
            told["asked"],
            told["proved"],
            {place: Removed(**count) for place, count in told["removed"].items()},
            tuple(told["models_to_retrain"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"{path} is no certificate: {error!r}", "move it away") from error


def now() -> str:
    """Return the present moment, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
