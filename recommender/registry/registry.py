"""The registry: register, fetch, promote."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from recommender.config import Config
from recommender.errors import ArtifactError, RegistryError
from recommender.registry import aliases, decisions, marks
from recommender.registry.aliases import Aliases
from recommender.registry.content import LINEAGE, SIGNATURE, VERSION, digests, version_of
from recommender.registry.decisions import Decision, Status
from recommender.registry.encoders import Encoders
from recommender.registry.lineage import Lineage
from recommender.registry.marks import RetrainMark
from recommender.registry.signing import sign, verify
from recommender.storage import StorageConflictError, Store, is_s3, local_path, open_store
from recommender.workspace import Workspace

logger = logging.getLogger(__name__)


class Registry:
    """Model versions in a folder or a bucket.

    Args:
        store: where they lie.
        keys: folder of the signing keys.
        cache: folder of fetched versions, each verified.
    """

    def __init__(self, store: Store, keys: Path, cache: Path) -> None:
        self._store = store
        self._keys = keys
        self._cache = cache

    @classmethod
    def open(
        cls, location: str | Path, *, keys: Path | None = None, cache: Path | None = None
    ) -> Registry:
        """Open the registry at a location; an empty place is an empty registry.

        Args:
            location: a path, `file:///path` or `s3://bucket/prefix`.
            keys: folder of the signing keys; default `keys/` beside a registry in a folder.
            cache: folder of fetched versions; default `cache/models/` beside it.

        Raises:
            RegistryError: a bucket without `keys` and `cache`.
        """
        if keys is None or cache is None:
            if is_s3(str(location)):
                raise RegistryError(f"{location}: say where keys and fetched versions shall lie")
            beside = local_path(str(location)).absolute().parent
            keys, cache = keys or beside / "keys", cache or beside / "cache" / "models"
        return cls(open_store(location), keys, cache)

    @classmethod
    def of(cls, paths: Workspace, location: str = "") -> Registry:
        """Open the registry of a workspace.

        Args:
            paths: of the workspace, where keys and fetched versions lie.
            location: where the versions lie, if not in the workspace.
        """
        place = location or paths.registry
        return cls.open(place, keys=paths.keys, cache=paths.cache / "models")

    @classmethod
    def configured(cls, config: Config) -> Registry:
        """Open the registry that a configuration names."""
        return cls.of(config.paths, config.registry.location)

    @property
    def location(self) -> str:
        """Where it lies, without credentials."""
        return self._store.location

    @property
    def encoders(self) -> Encoders:
        """The tuned text encoders that are known here."""
        return Encoders(self._store)

    def uri(self, version: str) -> str:
        """Return the immutable place of a version, as a model server's `storageUri` names it."""
        place = self._store.location
        return f"{place if is_s3(place) else f'file://{place}'}/models/{version}"

    def register(self, folder: Path, lineage: Lineage, decision: Decision) -> str:
        """Sign and store a model, and record what was decided about it.

        The same bytes are the same version: registering them again adds a decision and nothing
        else. If the decision is `passed`, the alias `candidate` names the version from then on.

        Args:
            folder: of a `recommender.artifact.Model`.
            lineage: where it came from.
            decision: what this run's gate said.

        Returns:
            the version, `m-<12 hex>`.

        Raises:
            ArtifactError: the folder holds no model, or files that may run code.
            RegistryError: no usable key, or this run decided otherwise before.
            StorageError: the registry can't be written; no half version is visible.
        """
        version = version_of(digests(folder))
        if not self.has(version):
            self._store_version(folder, version, lineage)
        ours = json.loads(lineage.to_bytes())
        decisions.record(self._store, version, replace(decision, lineage=ours))
        if decision.status is Status.PASSED:
            aliases.update(
                self._store,
                lambda now: now.moved("candidate", version, decision.run_id, "passed the gate"),
            )
        return version

    def has(self, version: str) -> bool:
        """Tell whether a version is there, whole."""
        return self._store.exists(f"models/{_checked(version)}/{SIGNATURE}")

    def versions(self) -> tuple[str, ...]:
        """Return every version, sorted by name."""
        keys = (entry.key.split("/") for entry in self._store.list("models"))
        return tuple(sorted(key[1] for key in keys if key[2:] == [SIGNATURE]))

    def lineage(self, version: str) -> Lineage:
        """Return where a version came from.

        Raises:
            RegistryError: there is no such version.
            ArtifactError: its lineage is damaged. (`fetch` checks the signature too.)
        """
        self._must_have(version)
        key = f"models/{version}/{LINEAGE}"
        return Lineage.from_bytes(self._store.read_bytes(key), f"{self.location}/{key}")

    def decisions(self, version: str) -> tuple[Decision, ...]:
        """Return what was decided about a version, the oldest first."""
        return decisions.read_all(self._store, _checked(version))

    def mark_for_retraining(self, version: str, mark: RetrainMark) -> bool:
        """Say that a version saw somebody who was forgotten; what was signed stays as it is.

        Returns:
            whether the mark is new.

        Raises:
            RegistryError: there is no such version.
        """
        self._must_have(version)
        return marks.mark(self._store, version, mark)

    def retrain_marks(self, version: str) -> tuple[RetrainMark, ...]:
        """Return why a version should be trained again, the oldest reason first."""
        return marks.read_all(self._store, _checked(version))

    def fetch(self, version: str) -> Path:
        """Return a verified local copy of a version, which `Model.load` can read.

        Raises:
            RegistryError: there is no such version, or no key to verify it with.
            ArtifactError: a file was changed, cut off, removed or added; it is named.
        """
        kept = self._cache / _checked(version)
        if kept.is_dir():
            try:
                verify(kept, self._keys, version)
            except ArtifactError as error:
                logger.warning("%s; fetching it again", error.message)
                shutil.rmtree(kept)  # only a copy; what counts is in the registry
            else:
                return kept
        self._must_have(version)
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=self._cache) as temporary:
            fresh = Path(temporary) / version
            self._store.download(f"models/{version}", fresh)
            verify(fresh, self._keys, version)
            try:
                fresh.rename(kept)
            except OSError:
                # Another process was faster; a server may be reading its copy, so leave it.
                verify(kept, self._keys, version)
        return kept

    def aliases(self) -> Aliases:
        """Return both aliases and their history."""
        return aliases.read(self._store)

    def champion(self) -> str | None:
        """Return the version that serves, or None before the first one."""
        return self.aliases().champion

    def candidate(self) -> str | None:
        """Return the version that waits for its canary or is in it."""
        return self.aliases().candidate

    def promote(
        self,
        version: str,
        *,
        run_id: str = "",
        reason: str = "promoted",
        over: str | Literal["any"] | None = "any",
    ) -> None:
        """Make a version the champion; if it was the candidate, there is none any more.

        Args:
            version: the new champion.
            run_id: of the run that promotes it.
            reason: in a few words, for people.
            over: the champion it has beaten; if another one reigns by now, nothing happens.

        Raises:
            RegistryError: there is no such version, its last decision was not a pass, or the
                champion isn't `over` any more. The aliases are as they were.
        """
        self._must_have(version)
        told = [d for d in self.decisions(version) if d.status is not Status.UNCHANGED]
        if not told or not told[-1].status.deployable:
            status = told[-1].status.value if told else "undecided"
            raise RegistryError(
                f"{version} is {status} and can't become champion",
                told[-1].report and f"its report: {told[-1].report}" if told else "",
            )

        def change(now: Aliases) -> Aliases:
            if over != "any" and now.champion not in (over, version):
                raise RegistryError(
                    f"{version} was compared with {over or 'nothing'}, but {now.champion} has "
                    "become champion since",
                    "run the pipeline again to compare it with the new one",
                )
            after = now.moved("champion", version, run_id, reason)
            return after.moved("candidate", None, run_id, reason) if _is(now, version) else after

        aliases.update(self._store, change)

    def withdraw(self, version: str, *, run_id: str = "", reason: str = "rolled back") -> None:
        """Let a version be the candidate no longer; another candidate stays."""
        aliases.update(
            self._store,
            lambda now: now.moved("candidate", None, run_id, reason) if _is(now, version) else now,
        )

    def _store_version(self, folder: Path, version: str, lineage: Lineage) -> None:
        """Upload everything, the signature last.

        Two runs that made the same bytes may be here at once. Whoever writes the lineage first
        wins, and both sign that one; so either's signature fits what lies there.
        """
        place = f"models/{version}"
        with suppress(StorageConflictError):
            self._store.write_bytes(f"{place}/{LINEAGE}", lineage.to_bytes(), if_absent=True)
        with tempfile.TemporaryDirectory(prefix="register-") as temporary:
            staged = Path(temporary) / version
            for name in digests(folder):
                _link(folder / name, staged / name)
            if version_of(digests(staged)) != version:
                raise RegistryError(f"{folder} was changed while it was being registered")
            (staged / LINEAGE).write_bytes(self._store.read_bytes(f"{place}/{LINEAGE}"))
            signature = sign(staged, self._keys)
            self._store.upload(staged, place)
        with suppress(StorageConflictError):
            self._store.write_bytes(f"{place}/{SIGNATURE}", signature, if_absent=True)

    def _must_have(self, version: str) -> None:
        if not self.has(version):
            raise RegistryError(
                f"{self.location} holds no version {version}",
                f"it holds {', '.join(self.versions()) or 'none yet'}",
            )


def _is(now: Aliases, version: str) -> bool:
    return now.candidate == version


def _checked(version: str) -> str:
    if not VERSION.fullmatch(version):
        raise RegistryError(f"{version!r} is no version; one looks like m-0123456789ab")
    return version


def _link(source: Path, target: Path) -> None:
    """Put a file in place without copying it where the file system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
