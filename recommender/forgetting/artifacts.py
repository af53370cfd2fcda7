"""A person in what steps handed to each other: data sets, evaluation sets, tables and the rest.

A data set or an evaluation set is several files that must agree, so it is read and written as a
whole. Everything else is gone through file by file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from recommender.errors import ArtifactError, StorageError
from recommender.evaluation.frozen import EvaluationSet, ranges
from recommender.features.dataset import Dataset
from recommender.features.sequences import EventLog
from recommender.files import read_json
from recommender.forgetting import canonical, forms, sqlite
from recommender.forgetting.person import Person
from recommender.forgetting.removed import NOTHING, Removed

DATASET, EVALUATION_SET = "dataset.json", "evaluation_set.json"
"""Files by which folders of these kinds are known."""

logger = logging.getLogger(__name__)

# What `recommender.files` leaves behind when it is killed: a random name, or the old folder.
_LEFT_OVER = re.compile(r"\..+\.(old|[a-z0-9_]{8})")


def files_of(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder, links to folders followed once, sorted."""
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(parent)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(parent) / name).is_file())


def sweep(paths: Iterable[Path], person: Person, *, torn: bool = False) -> Removed:
    """Take the person out of files, each in the way of its kind.

    Args:
        paths: of the files.
        person: who is to be forgotten.
        torn: whether a file that can't be decoded may be removed, since nobody can use it.

    Raises:
        StorageError: a file can't be written, or names the person and can't be written again.
    """
    done = NOTHING
    for path in paths:
        if path.name.endswith(sqlite.BESIDE):
            continue  # goes with its store
        try:
            records = forms.erase(path, person)
        except forms.UnreadableError as error:
            if not torn:
                continue  # the scan names it
            logger.warning("%s; it is removed", error.message)
            path.unlink()
            done += Removed(files=1)
        else:
            done += Removed(records, 1) if records else NOTHING
    return done


def erase_artifacts(folder: Path, person: Person, data: Path) -> Removed:
    """Take the person out of the artifacts of pipeline runs.

    Args:
        folder: that holds them, at any depth.
        person: who is to be forgotten.
        data: `Workspace.data`, whose versions were replaced before.
    """
    done = NOTHING
    for path in [path for path in files_of(folder) if path.name == DATASET]:
        done += _erase_dataset(path.parent, person, data)
    for path in [path for path in files_of(folder) if path.name == EVALUATION_SET]:
        done += _erase_evaluation_set(path.parent, person, data)
    for path in [path for path in files_of(folder) if path.name == "manifest.json"]:
        if (path.parent / "events.parquet").exists():
            done += canonical.erase_copy(path.parent, person, data)
    return done + sweep(files_of(folder), person, torn=True)


def remove_leftovers(folder: Path, older_than_s: float = 0.0) -> Removed:
    """Remove what killed writers left behind.

    Args:
        folder: to look through, at any depth.
        older_than_s: leave younger ones: somebody may be writing them right now.
    """
    done = NOTHING
    limit = time.time() - older_than_s
    for parent, folders, names in os.walk(folder):
        for name in [name for name in (*folders, *names) if _LEFT_OVER.fullmatch(name)]:
            path = Path(parent) / name
            with contextlib.suppress(FileNotFoundError):  # its writer has just renamed it
                if path.stat().st_mtime > limit:
                    continue
                if path.is_dir():
                    done += remove_all(path)
                    folders.remove(name)
                else:
                    path.unlink()
                    done += Removed(files=1)
    return done


def remove_all(*folders: Path) -> Removed:
    """Remove folders and everything in them."""
    done = NOTHING
    for folder in folders:
        if folder.exists():
            done += Removed(files=sum(1 for _ in files_of(folder)))
            shutil.rmtree(folder)
    return done


def without_user(log: EventLog, user: str) -> EventLog:
    """Return a log without one user and their events."""
    row = log.users.index(user)
    kept = log.where(log.user_of_event != row)
    users = (*log.users[:row], *log.users[row + 1 :])
    return replace(kept, users=users, offsets=np.delete(kept.offsets, row))


def _erase_dataset(folder: Path, person: Person, data: Path) -> Removed:
    told = read_json(folder / DATASET)
    name = canonical.latest(str(told.get("data_version")), canonical.replaced(data))
    present = person.pseudonym in told.get("users", ())
    if not present and name == told.get("data_version"):
        return NOTHING
    try:
        dataset = Dataset.read(folder)
    except StorageError as error:
        logger.warning("%s; it is removed", error.message)
        return remove_all(folder)
    log = without_user(dataset.log, person.pseudonym) if present else dataset.log
    replace(dataset, log=log, data_version=name).write(folder)
    return Removed(len(dataset.log) - len(log), 2)


def _erase_evaluation_set(folder: Path, person: Person, data: Path) -> Removed:
    try:
        whole = EvaluationSet.load(folder)
    except ArtifactError as error:
        logger.warning("%s; it is removed", error.message)
        return remove_all(folder)
    name = canonical.latest(whole.data_version, canonical.replaced(data))
    left = replace(whole, data_version=name)
    if person.pseudonym in whole.unscored:
        reasons = {user: why for user, why in whole.unscored.items() if user != person.pseudonym}
        left = replace(left, unscored=reasons)
    if person.pseudonym in whole.log.users:
        left = _without_requests(left, person.pseudonym)
    if left.version == whole.version:
        return NOTHING
    left.save(folder)
    return Removed(len(whole) - len(left) + len(whole.unscored) - len(left.unscored), 6)


def _without_requests(whole: EvaluationSet, user: str) -> EvaluationSet:
    row = whole.log.users.index(user)
    keep = np.flatnonzero(whole.users != row)
    lengths = whole.relevant_counts[keep]
    users = whole.users[keep]
    return replace(
        whole,
        log=without_user(whole.log, user),
        users=users - (users > row),
        times=whole.times[keep],
        folds=whole.folds[keep],
        relevant=whole.relevant[ranges(whole.offsets[keep], lengths)],
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        surfaces=None if whole.surfaces is None else whole.surfaces[keep],
    )
