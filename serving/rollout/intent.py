"""What a person wants of a rollout that another process drives: abort it, or promote now.

`ostinato rollout abort` writes a file beside the rollout's state; whoever drives the rollout looks
for it at every beat, several times a second. If nobody drives it, the command does so itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from recommender.errors import RolloutError, StorageError
from recommender.files import read_json, write_json

FILE = "intent.json"


class Action(StrEnum):
    """What is wanted."""

    ABORT = "abort"
    PROMOTE = "promote"


@dataclass(frozen=True)
class Intent:
    """A person's word.

    Attributes:
        action: what is wanted.
        reason: why, for the record.
        force: of a promotion: even past a broken split or a candidate shown to be worse.
        time: when it was said (UTC, ISO 8601).
    """

    action: Action
    reason: str
    force: bool = False
    time: str = ""


def say(folder: Path, action: Action, reason: str, *, force: bool = False) -> Intent:
    """Write an intent beside a rollout's state; a later one replaces it.

    Args:
        folder: of the rollout.
        action: what is wanted.
        reason: why; not empty.
        force: of a promotion.

    Raises:
        RolloutError: no reason is given.
        StorageError: it can't be written.
    """
    if not reason.strip():
        raise RolloutError(f"to {action} a rollout by hand takes a reason", "give one: --reason …")
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    intent = Intent(action, reason.strip(), force, now)
    write_json(folder / FILE, asdict(intent))
    return intent


def heard(folder: Path) -> Intent | None:
    """Return what was said, or None.

    Raises:
        RolloutError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        told: dict[str, Any] = read_json(path)
        return Intent(**{**told, "action": Action(told["action"])})
    except (StorageError, KeyError, TypeError, ValueError) as error:
        raise RolloutError(f"{path} is damaged: {error!r}", "remove it and say it again") from error


def forget(folder: Path) -> None:
    """Remove what was said, once it was done or refused."""
    (folder / FILE).unlink(missing_ok=True)


def against(analyses: tuple[dict[str, Any], ...]) -> str:
    """Return what speaks against a promotion by hand: proof of harm; "" if nothing does.

    Args:
        analyses: of the steps (and of the shadow) so far, `Analysis.to_dict`.
    """
    for told in reversed(analyses):
        if told["verdict"] == "roll_back":
            return str(told["reason"])
    return ""
