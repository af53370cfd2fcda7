"""The entry points as ONNX files beside a model's weights, sharing them.

An ONNX file may keep a tensor outside: in another file, from a byte on. Safetensors keeps plain
little-endian bytes. So the weights are stored once, in `weights.safetensors`, and the `.onnx`
files hold the graph and what little was folded. What the catalogue alone decides (item vectors)
is worked out by the runtime when it loads the file.
"""

from __future__ import annotations

import json
import logging
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recommender.errors import ArtifactError
from recommender.export.programs import ENTRIES, entry_of, program
from recommender.files import atomic_file

if TYPE_CHECKING:
    from recommender.model.transformer import UnifiedTransformer

WEIGHTS = "weights.safetensors"
_PREFIX = "reading.module."
_SMALL = 4096


@dataclass(frozen=True)
class _Kept:
    """Where a tensor lies in a safetensors file."""

    offset: int
    length: int
    shape: tuple[int, ...]
    dtype: str


def file_of(entry: str) -> str:
    """Return the name of an entry point's file."""
    return f"{entry}.onnx"


def write(module: UnifiedTransformer, folder: Path) -> None:
    """Write every entry point beside the weights that lie in `folder`.

    Args:
        module: whose weights those are.
        folder: of the model, as `recommender.artifact.Model.save` leaves it.

    Raises:
        ArtifactError: there are no weights, or they are not this module's.
        StorageError: the folder can't be written.
    """
    import onnx
    import torch

    kept = _layout(folder / WEIGHTS)
    state = module.state_dict()
    for entry in ENTRIES:
        ends = entry_of(module, entry)
        with _quiet():
            made = torch.onnx.export(
                program(module, entry),
                dynamo=True,
                verify=False,
                input_names=list(ends.inputs),
                output_names=list(ends.outputs),
            )
        if made is None:
            raise ArtifactError(f"{entry} could not be turned into ONNX")
        model = made.model_proto
        for tensor in model.graph.initializer:
            name = tensor.name.removeprefix(_PREFIX)
            if name in state and tensor.ByteSize() > _SMALL:
                _share(tensor, name, state[name].numpy(), kept)
        # Where the exporter ran and what each node was made from says nothing about the model.
        for node in model.graph.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
        with atomic_file(folder / file_of(entry)) as temporary:
            temporary.write_bytes(model.SerializeToString(deterministic=True))
            temporary.chmod(0o644)
        # Reads the shared weights, too.
        onnx.checker.check_model(str(folder / file_of(entry)))


def _share(tensor: Any, name: str, value: np.ndarray, kept: Mapping[str, _Kept]) -> None:
    """Let an initializer point at the weights' file instead of holding a copy."""
    import onnx
    from onnx.external_data_helper import set_external_data

    there = kept.get(name)
    ours = onnx.numpy_helper.to_array(tensor)
    if there is None or there.shape != ours.shape or not np.array_equal(ours, value):
        raise ArtifactError(
            f"{WEIGHTS} holds other weights than the module ({name})",
            "save the model first, then export the same one",
        )
    set_external_data(tensor, WEIGHTS, there.offset, there.length)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL


def _layout(path: Path) -> dict[str, _Kept]:
    """Return where each tensor lies, by name (https://huggingface.co/docs/safetensors)."""
    try:
        with path.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(size))
    except (OSError, ValueError, struct.error) as error:
        raise ArtifactError(f"{path} is no readable weights file: {error}") from error
    header.pop("__metadata__", None)
    return {
        name: _Kept(
            8 + size + each["data_offsets"][0],
            each["data_offsets"][1] - each["data_offsets"][0],
            tuple(each["shape"]),
            each["dtype"],
        )
        for name, each in header.items()
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its notes to developers out of the log."""
    import contextlib
    import io

    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
