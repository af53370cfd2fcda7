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

# Formats that hold data and nothing that runs. Pickle in any disguise stays out: what a file is
# called is not believed, its first bytes must be those of the format.
_SUFFIXES = frozenset({".safetensors", ".json", ".onnx"})
# Models of format 1 have their items in this one.
_OLD_ITEMS = "items.parquet"
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
        known = path.suffix in _SUFFIXES or name == _OLD_ITEMS
        if not known or any(part.startswith(".") for part in Path(name).parts):
            raise ArtifactError(
                f"{path}: a model consists of {', '.join(sorted(_SUFFIXES))} files only",
                "other formats may run code when they are loaded; remove the file",
            )
        if not _is_what_it_says(path):
            raise ArtifactError(
                f"{path} does not begin as a {path.suffix.removeprefix('.')} file does",
                "it was cut off, or it is another file under this name; fetch the model again",
            )
        with path.open("rb") as stream:
            found[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found:
        raise ArtifactError(f"{folder} holds no model files", "train a model first")
    return found


def _is_what_it_says(path: Path) -> bool:
    """Tell whether a file's first bytes are those of its format."""
    with path.open("rb") as stream:
        head = stream.read(9)
    if path.suffix == ".safetensors":
        # The length of the header, 8 bytes; then the header, a JSON object.
        length = int.from_bytes(head[:8], "little")
        return head[8:] == b"{" and 8 + length <= path.stat().st_size
    if path.suffix == ".json":
        return head.lstrip()[:1] in (b"{", b"[")
    if path.suffix == ".parquet":
        return head[:4] == b"PAR1"
    # A protobuf message whose first field is the version of the representation.
    return head[:1] == b"\x08"


def version_of(hashes: Mapping[str, str]) -> str:
    """Return the version name of a model with these files: `m-` and 12 hex digits.

    Args:
        hashes: SHA-256 by file name, as `digests` returns them.
    """
    lines = "".join(f"{name} {hashes[name]}\n" for name in sorted(hashes))
    return f"m-{hashlib.sha256(lines.encode()).hexdigest()[:12]}"
