"""The frozen evaluation set: the same requests, histories and answers for every model.

The protocol is "as served": a user's request at time t is answered by a model whose weights
were frozen at the fold's cut, from the history strictly before t, over the full catalogue. What
the user took at t (success events) is relevant; where seen items are never recommended again,
they aren't relevant either. A request without anything relevant can't be scored: it is counted,
and a user with no other request is named in `unscored`.

Shape letters: B requests, P relevant items of all requests (jagged), E events, U users.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recommender.errors import ArtifactError, StorageError
from recommender.features.sequences import Catalogue, EventLog, Histories, Ints
from recommender.files import atomic_directory, read_json, write_json
from recommender.split import Fold

FORMAT = 1


@dataclass(frozen=True)
class EvaluationSet:
    """Requests of test users and what was relevant to them.

    Attributes:
        log: the events that some request's history holds, and no other.
        catalogue: the items, as in the data set.
        users: rows into `log.users`, (B,), rising.
        times: moments of the requests, ms, (B,).
        folds: the fold of each request, (B,).
        relevant: catalogue rows, distinct within a request, (P,).
        offsets: request b's are `relevant[offsets[b]:offsets[b + 1]]`, (B + 1,).
        windows: the folds themselves.
        history_limit: most recent events of a history, as the online store keeps them.
        exclude_seen: whether items of the history are left out of the ranking.
        data_version: of the data set.
        unscored: test users without any request that can be scored, and why.
        counts: what was left out or is special, by name.
        surfaces: code of where each request was made, (B,) int8; None where the log tells no
            surfaces apart.
    """

    log: EventLog
    catalogue: Catalogue
    users: Ints
    times: Ints
    folds: Ints
    relevant: NDArray[np.int32]
    offsets: Ints
    windows: tuple[Fold, ...]
    history_limit: int
    exclude_seen: bool
    data_version: str
    unscored: dict[str, str]
    counts: dict[str, int]
    surfaces: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.times)

    def save(self, folder: Path) -> None:
        """Write the folder, atomically: four tables and `evaluation_set.json`."""
        log = self.log
        tables: dict[str, dict[str, Any]] = {
            "log": {
                "user": log.user_of_event,
                "item": log.items,
                "action": log.actions,
                "time": log.times,
                "value": log.values,
            },
            "requests": {
                "user": self.users,
                "time": self.times,
                "fold": self.folds,
                "relevant": pa.ListArray.from_arrays(self.offsets.astype(np.int32), self.relevant),
            },
            "users": {"user": pa.array(log.users, pa.string())},
            "items": {"item_id": pa.array(self.catalogue.ids, pa.string())},
            "unscored": {
                "user": pa.array(list(self.unscored), pa.string()),
                "reason": pa.array(list(self.unscored.values()), pa.string()),
            },
        }
        if log.surfaces is not None and self.surfaces is not None:
            tables["log"]["surface"] = log.surfaces
            tables["requests"]["surface"] = self.surfaces
        with atomic_directory(folder) as temporary:
            for name, columns in tables.items():
                pq.write_table(pa.table(columns), temporary / f"{name}.parquet", compression="zstd")
            described = {
                "format": FORMAT,
                "version": self.version,
                "windows": [window.to_dict() for window in self.windows],
                "history_limit": self.history_limit,
                "exclude_seen": self.exclude_seen,
                "data_version": self.data_version,
                "counts": self.counts,
            }
            write_json(temporary / "evaluation_set.json", described)

    @classmethod
    def load(cls, folder: Path, data_version: str | None = None) -> EvaluationSet:
        """Read what `save` left.

        Args:
            folder: of the set.
            data_version: of the data that it is to be used with; None takes any.

        Raises:
            ArtifactError: a file is missing or damaged, the content isn't that of its version, or
                the set was made of other data.
        """
        try:
            described = read_json(folder / "evaluation_set.json")
            names = ("log", "requests", "users", "items", "unscored")
            log, requests, users, items, unscored = (
                pq.read_table(folder / f"{name}.parquet") for name in names
            )
        except (StorageError, pa.ArrowInvalid, OSError) as error:
            raise ArtifactError(f"{folder} is not a readable evaluation set: {error}") from error
        if described.get("format") != FORMAT:
            raise ArtifactError(f"{folder}: unknown format {described.get('format')!r}")
        relevant = requests["relevant"].combine_chunks()
        counts = np.bincount(log["user"].to_numpy(), minlength=len(users))
        loaded = cls(
            EventLog(
                tuple(users["user"].to_pylist()),
                np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
                log["item"].to_numpy(),
                log["action"].to_numpy(),
                log["time"].to_numpy(),
                log["value"].to_numpy(),
                surfaces=_surfaces(log),
            ),
            Catalogue(tuple(items["item_id"].to_pylist())),
            requests["user"].to_numpy(),
            requests["time"].to_numpy(),
            requests["fold"].to_numpy(),
            relevant.values.to_numpy(),
            relevant.offsets.to_numpy().astype(np.int64),
            tuple(Fold(**window) for window in described["windows"]),
            described["history_limit"],
            described["exclude_seen"],
            described["data_version"],
            dict(zip(*(unscored[c].to_pylist() for c in ("user", "reason")), strict=True)),
            described["counts"],
            _surfaces(requests),
        )
        if data_version is not None and loaded.data_version != data_version:
            raise ArtifactError(
                f"{folder} was made of data version {loaded.data_version}, not of {data_version}",
                "scores on one don't compare with scores on the other; freeze a set of this data",
            )
        if loaded.version != described["version"]:
            raise ArtifactError(
                f"{folder} holds evaluation set {loaded.version}, but says {described['version']}",
                "it was changed after it was written; run the evaluate step again",
            )
        return loaded

    @property
    def relevant_counts(self) -> Ints:
        """Relevant items per request, (B,)."""
        return np.diff(self.offsets)

    def of_fold(self, fold: int) -> Ints:
        """Return the rows of one fold's requests, rising."""
        return np.nonzero(self.folds == fold)[0]

    def histories(self, rows: Ints) -> Histories:
        """Return the histories of some requests, as served."""
        found = self.log.histories(self.users[rows], self.times[rows], self.history_limit)
        return found if self.surfaces is None else replace(found, surface=self.surfaces[rows])

    def relevance(self, rows: Ints) -> NDArray[np.bool_]:
        """Return which items are relevant to some requests, (len(rows), I)."""
        marks = np.zeros((len(rows), len(self.catalogue)), bool)
        lengths = self.relevant_counts[rows]
        owner = np.repeat(np.arange(len(rows)), lengths)
        marks[owner, self.relevant[ranges(self.offsets[rows], lengths)]] = True
        return marks

    @cached_property
    def version(self) -> str:
        """The content hash: two sets with the same version ask and answer the same."""
        digest = hashlib.sha256()
        described = {
            "users": self.log.users,
            "items": self.catalogue.ids,
            "windows": [window.to_dict() for window in self.windows],
            "history_limit": self.history_limit,
            "exclude_seen": self.exclude_seen,
            "data_version": self.data_version,
            "unscored": self.unscored,
            "counts": self.counts,
        }
        digest.update(json.dumps(described, sort_keys=True).encode())
        log = self.log
        for part in (log.offsets, log.items, log.actions, log.times, log.values):
            digest.update(np.ascontiguousarray(part).tobytes())
        for part in (self.users, self.times, self.folds, self.relevant, self.offsets):
            digest.update(np.ascontiguousarray(part).tobytes())
        for told in (log.surfaces, self.surfaces):
            if told is not None:
                digest.update(np.ascontiguousarray(told).tobytes())
        return digest.hexdigest()[:16]


def _surfaces(table: pa.Table) -> NDArray[np.int8] | None:
    return table["surface"].to_numpy() if "surface" in table.column_names else None


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """Return `starts[0] … starts[0] + lengths[0] - 1`, then the next range, and so on."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths - starts, lengths)
