"""V2 (open inference): users in as a tensor of strings, ranked items out as tensors.

Shape letters: B users, K items.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from kserve import InferInput, InferOutput, InferRequest, InferResponse
from kserve.errors import InferenceError, InvalidInput

from serving.ask import Ask, InvalidAskError, parse
from serving.ranking import Answer

INPUTS: list[dict[str, Any]] = [{"name": "user_id", "datatype": "BYTES", "shape": [-1]}]
OUTPUTS: list[dict[str, Any]] = [
    {"name": "item_id", "datatype": "BYTES", "shape": [-1, -1]},
    {"name": "title", "datatype": "BYTES", "shape": [-1, -1]},
    {"name": "score", "datatype": "FP32", "shape": [-1, -1]},
    {"name": "history", "datatype": "INT64", "shape": [-1]},
    {"name": "fallback", "datatype": "BYTES", "shape": [-1]},
]
_PARAMETERS = ("k", "time")


def asks(request: InferRequest) -> list[Ask]:
    """Read a V2 request: the tensor `user_id` (BYTES, (B,)), the parameters `k` and `time`.

    Raises:
        InvalidAskError: a tensor or a parameter is wrong.
    """
    names = [tensor.name for tensor in request.inputs]
    if names != ["user_id"]:
        raise InvalidAskError(f"inputs: exactly one tensor, user_id, is read (got {names})")
    users = _texts(request.inputs[0])
    given = {key: _plain(value) for key, value in dict(request.parameters or {}).items()}
    given.pop("binary_data_output", None)  # asks for the answer's encoding
    if unknown := sorted(set(given) - set(_PARAMETERS)):
        raise InvalidAskError(f"parameters: {unknown} are unknown; {', '.join(_PARAMETERS)} exist")
    return parse({"instances": [{"user_id": user, **given} for user in users]})


def response(request: InferRequest, version: str, answers: Sequence[Answer]) -> InferResponse:
    """Return the answers as tensors; rows with fewer than K items end in "" and score 0."""
    width = max(len(answer.items) for answer in answers)
    outputs = [
        _texts_out("item_id", [[*a.items, *[""] * (width - len(a.items))] for a in answers]),
        _texts_out("title", [[*a.titles, *[""] * (width - len(a.titles))] for a in answers]),
        _tensor(
            "score",
            "FP32",
            np.array([[*a.scores, *[0.0] * (width - len(a.scores))] for a in answers], np.float32),
        ),
        _tensor("history", "INT64", np.array([a.history for a in answers], np.int64)),
        _texts_out("fallback", [a.fallback or "" for a in answers]),
    ]
    return InferResponse(
        request.id or str(uuid.uuid4()),
        request.model_name,
        outputs,
        version,
        use_binary_outputs=request.use_binary_outputs,
        requested_outputs=request.request_outputs,
    )


def _texts(tensor: InferInput) -> list[str]:
    if tensor.datatype != "BYTES" or len(tensor.shape) != 1:
        raise InvalidAskError(
            f"user_id: a BYTES tensor of shape [B] is read, not {tensor.datatype} {tensor.shape}"
        )
    try:
        values = tensor.as_numpy().tolist()
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    except (ValueError, InvalidInput, InferenceError) as error:
        raise InvalidAskError(f"user_id: {error}") from None


def _plain(parameter: Any) -> Any:
    """Return the value of a parameter: plain over REST, a protobuf union over gRPC."""
    if hasattr(parameter, "WhichOneof"):
        return getattr(parameter, parameter.WhichOneof("parameter_choice"))
    return parameter


def _texts_out(name: str, values: Sequence[Any]) -> InferOutput:
    return _tensor(name, "BYTES", np.array(values, np.object_))


def _tensor(name: str, datatype: str, values: np.ndarray[Any, Any]) -> InferOutput:
    tensor = InferOutput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=False)
    return tensor
