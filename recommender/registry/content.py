"""What a version is: the names and hashes of its files, and the version name that follows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from recommender.errors import ArtifactError

SIGNATURE = "model.sig"
LINEAGE = "lineage.json"
VERSION = re.compile(r"m-[0-9a-f]{12}")

# Formats that hold data and nothing that runs. Pickle in any disguise stays out.
_SUFFIXES = frozenset({".safetensors", ".json", ".parquet", ".onnx"})
_OURS = (SIGNATURE, LINEAGE)


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a model, by name relative to `folder`.

    Signature and lineage are left out: they say something about the model.

    Raises:
        ArtifactError: there are none, or one is a link or of a format that may run code.
    """
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not a model folder", "train a model first")
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ArtifactError(f"{path} is a link or no plain file", "put the file itself there")
        if path.is_dir() or name in _OURS:
            continue
        if path.suffix not in _SUFFIXES or any(part.startswith(".") for part in Path(name).parts):
            raise ArtifactError(
                f"{path}: a model consists of {', '.join(sorted(_SUFFIXES))} files only",
                "other formats may run code when they are loaded; remove the file",
            )
        with path.open("rb") as stream:
            found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found:
        raise ArtifactError(f"{folder} holds no model files", "train a model first")
    return found


def version_of(hashes: Mapping[str, str]) -> str:
    """Return the version name of a model with these files: `m-` and 12 hex digits.

    Args:
        hashes: SHA-256 by file name, as `digests` returns them.
    """
    lines = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    return f"m-{hashlib.sha256(lines.encode()).hexdigest()[:12]}"
