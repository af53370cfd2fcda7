"""Where a model came from: data, configuration, code, training, figures, parents."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from recommender.errors import ArtifactError, RegistryError
from recommender.split import Fold

FORMAT = 1
T = TypeVar("T")
_PACKAGES = ("recommender", "components", "feature_repo", "pipelines", "serving")


def now() -> str:
    """Return the present moment, UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True)
class Lineage:
    """Everything needed to say how a model version came about, and to make it again.

    Attributes:
        run_id: of the pipeline run that made it.
        data_version: of the canonical tables.
        config_fingerprint: short hash of every setting.
        config: every setting (`Config.model_dump(mode="json")`); holds no secrets.
        code_version: see `code_version`.
        encoder: name and revision of the text encoder, "" where no text was read.
        folds: the cuts of time, the candidate's last.
        metrics: figures of the evaluation; plain JSON values.
        training: how training went (epochs, steps, seconds, losses); plain JSON values.
        parents: versions whose weights it started from.
        created: UTC, ISO 8601.
    """

    run_id: str
    data_version: str
    config_fingerprint: str
    config: dict[str, Any]
    code_version: str
    folds: tuple[Fold, ...]
    encoder: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    created: str = field(default_factory=now)

    @property
    def test_start(self) -> int:
        """The moment (UTC ms) from which on the model saw nothing."""
        return self.folds[-1].test_start

    def to_bytes(self) -> bytes:
        """Return stable JSON.

        Raises:
            RegistryError: a figure is NaN, infinite or no JSON value.
        """
        return encode({"format": FORMAT, **asdict(self)}, "the lineage")

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Lineage:
        """Read what `to_bytes` wrote.

        Args:
            data: the file's content.
            where: its name, for the error.

        Raises:
            ArtifactError: it isn't a lineage of a format that we know.
        """

        def made(read: dict[str, Any]) -> Lineage:
            read["folds"] = tuple(Fold(**fold) for fold in read["folds"])
            read["parents"] = tuple(read["parents"])
            return cls(**read)

        return decode(data, FORMAT, where, made)


def encode(value: Any, what: str) -> bytes:
    """Return `value` as stable, human-readable JSON.

    Raises:
        RegistryError: it holds NaN, an infinity or something that JSON has no word for.
    """
    try:
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise RegistryError(f"{what} can't be written as JSON: {error}") from error
    return f"{text}\n".encode()


def decode(data: bytes, form: int, where: str, made: Callable[[dict[str, Any]], T]) -> T:
    """Return what was written with `encode` and its format's number.

    Args:
        data: the file's content.
        form: the only format that is known.
        where: the file's name, for the error.
        made: makes it of the fields without the format; a wrong one may raise what it likes.

    Raises:
        ArtifactError: it is of another format, or can't be read.
    """
    try:
        read = json.loads(data)
        if read.pop("format") != form:
            raise ArtifactError(f"{where} is of a format this version doesn't know")
        return made(read)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{where} is not a readable lineage: {error}") from error


def code_version(root: Path | None = None) -> str:
    """Return what identifies the running code: a hash of our sources, and the Git commit if any.

    The hash is what counts: an image or a wheel has no Git beside it, and a checkout may be
    dirty. The commit is for people.

    Args:
        root: folder that holds our packages; default the one this file was imported from.

    Returns:
        `src-<12 hex>` or `src-<12 hex>@<12 hex of the commit>`.
    """
    root = root or Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    version = f"src-{digest.hexdigest()[:12]}"
    commit = _commit(root)
    return f"{version}@{commit[:12]}" if commit else version


def _commit(root: Path) -> str:
    git = shutil.which("git")
    if not git or not (root / ".git").exists():
        return ""
    # A fixed program with fixed arguments; nothing of it comes from outside.
    asked = subprocess.run(  # noqa: S603
        [git, "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() if asked.returncode == 0 else ""
