"""Tuned text encoders: what each of them learned from, by version.

The folder of such an encoder is a person's own, named in a configuration; the registry holds no
weights of it, only its lineage and the marks that say whom it saw. Its version follows from the
hash of its content, so a copy elsewhere is the same encoder.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recommender.registry import marks
from recommender.registry.content import LINEAGE
from recommender.registry.lineage import decode, encode
from recommender.registry.marks import RetrainMark
from recommender.storage import StorageConflictError, Store

FORMAT = 1
_NAMED = re.compile(r".*@([0-9a-f]{64})")


@dataclass(frozen=True)
class EncoderLineage:
    """What a tuned encoder learned from.

    Attributes:
        data_set: by its name.
        data_versions: of the canonical tables: those of its own pairs, then those that the encoder
            had seen which it was tuned from.
        before: nothing at or after this moment (UTC milliseconds) was read.
        base: name and revision of the encoder that it was tuned from.
        settings: of the tuning (`features.text.tuning`).
        seed: of adapters and batches.
    """

    data_set: str
    data_versions: tuple[str, ...]
    before: int
    base: str
    settings: dict[str, Any]
    seed: int

    def to_bytes(self) -> bytes:
        """Return stable JSON: the same tuning gives the same bytes."""
        return encode({"format": FORMAT, **asdict(self)}, "the encoder's lineage")

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> EncoderLineage:
        """Read what `to_bytes` wrote.

        Args:
            data: the file's content.
            where: its name, for the error.

        Raises:
            ArtifactError: it isn't a lineage of a format that we know.
        """

        def made(told: dict[str, Any]) -> EncoderLineage:
            told["data_versions"] = tuple(map(str, told["data_versions"]))
            return cls(**told)

        return decode(data, FORMAT, where, made)

    @classmethod
    def of_folder(cls, folder: Path) -> EncoderLineage | None:
        """Return the lineage in an encoder's folder; None of one that was not tuned here.

        Raises:
            ArtifactError: it is damaged.
        """
        path = folder / LINEAGE
        return cls.from_bytes(path.read_bytes(), str(path)) if path.is_file() else None


def encoder_version(revision: str) -> str:
    """Return the version of an encoder, `e-<12 hex>`, by the hash of its folder."""
    return f"e-{revision[:12]}"


def version_in(name: str) -> str | None:
    """Return the version of the encoder `name@revision`; None of one that is no folder."""
    found = _NAMED.fullmatch(name)
    return encoder_version(found[1]) if found else None


class Encoders:
    """The tuned encoders that a registry knows.

    Args:
        store: of the registry.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, revision: str, lineage: EncoderLineage) -> str:
        """Keep the lineage of an encoder; return its version.

        Args:
            revision: hash of its folder.
            lineage: as in the folder.

        Raises:
            StorageError: the registry can't be written.
        """
        version = encoder_version(revision)
        try:
            place = f"encoders/{version}/{LINEAGE}"
            self._store.write_bytes(place, lineage.to_bytes(), if_absent=True)
        except StorageConflictError:
            pass  # the same content, so the same lineage
        return version

    def lineages(self) -> dict[str, EncoderLineage]:
        """Return what every known encoder learned from, by version, sorted.

        Raises:
            ArtifactError: one is damaged.
        """
        found = {}
        for entry in self._store.list("encoders"):
            _, version, name = entry.key.split("/")
            if name == LINEAGE:
                where = f"{self._store.location}/{entry.key}"
                data = self._store.read_bytes(entry.key)
                found[version] = EncoderLineage.from_bytes(data, where)
        return dict(sorted(found.items()))

    def mark(self, version: str, wanted: RetrainMark) -> bool:
        """Say that an encoder saw somebody who was forgotten; return whether that is new."""
        return marks.mark(self._store, version, wanted)

    def marks(self, version: str) -> tuple[RetrainMark, ...]:
        """Return why an encoder should be tuned again, the oldest reason first."""
        return marks.read_all(self._store, version)
