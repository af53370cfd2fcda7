"""V2 (open inference): requests in as tensors, one row per user; ranked items out as tensors.

Shape letters: B requests, K items, N the longest list of any request (shorter ones end in "").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from kserve import InferInput, InferOutput, InferRequest, InferResponse
from kserve.errors import InferenceError, InvalidInput

from serving.ask import Ask, InvalidAskError, parse
from serving.ranking import Answer

_TEXTS = ("BYTES",)
_WHOLE = ("INT64", "INT32")
_REAL = ("FP64", "FP32")

# One value per request; "" (and 0 as k or time) means that it isn't given.
_SINGLE = {"user_id": _TEXTS, "k": _WHOLE, "surface": _TEXTS, "time": _WHOLE}
_LISTS = {"candidates": _TEXTS, "exclude": _TEXTS, "categories": _TEXTS}
_HISTORY = {
    "history_item_id": _TEXTS,
    "history_action": _TEXTS,
    "history_time": _WHOLE,
    "history_value": _REAL,
    "history_surface": _TEXTS,
}
_MAY_LACK = ("history_value", "history_surface")
_PARAMETERS = ("k", "surface", "time", "explore", "record")
"""May also be given once, for every request; the last two only so."""

INPUTS: list[dict[str, Any]] = [
    *({"name": name, "datatype": kind[0], "shape": [-1]} for name, kind in _SINGLE.items()),
    *(
        {"name": name, "datatype": kind[0], "shape": [-1, -1]}
        for name, kind in (_LISTS | _HISTORY).items()
    ),
]


def outputs(tasks: Sequence[str], valued: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the tensors of a response.

    Args:
        tasks: event types that the model tells the chances of.
        valued: event types whose value it expects.
    """
    per_item = [("item_id", "BYTES"), ("title", "BYTES"), ("score", "FP32")]
    per_item += [(f"task_{name}", "FP32") for name in tasks]
    per_item += [(f"value_{name}", "FP32") for name in valued]
    per_request = [("request_id", "BYTES"), ("history", "INT64"), ("dropped", "INT64")]
    per_request += [(name, "BYTES") for name in ("fallback", "basis", "reason")]
    return [
        *({"name": name, "datatype": kind, "shape": [-1, -1]} for name, kind in per_item),
        *({"name": name, "datatype": kind, "shape": [-1]} for name, kind in per_request),
        {"name": "unknown", "datatype": "BYTES", "shape": [-1, -1]},
    ]


def asks(request: InferRequest) -> list[Ask]:
    """Read a V2 request: the tensors of `INPUTS`, and what `_PARAMETERS` names as parameters.

    A history is given by `history_item_id`, `history_action`, `history_time` (all (B, N)) and
    maybe `history_value` and `history_surface`; a row whose item ids are all "" is an empty history
    where `user_id` is "", and otherwise means that the feature store is read.

    Raises:
        InvalidAskError: a tensor or a parameter is wrong.
    """
    known = _SINGLE | _LISTS | _HISTORY
    given: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        if tensor.name not in known or tensor.name in given:
            what = "is given twice" if tensor.name in given else "is unknown"
            raise InvalidAskError(f"inputs: {tensor.name} {what}; {', '.join(known)} exist")
        given[tensor.name] = _values(tensor, known[tensor.name], 1 + (tensor.name not in _SINGLE))
    if not ({"user_id", "history_item_id"} & given.keys()):
        raise InvalidAskError(
            "inputs: user_id, or history_item_id and what goes with it, is needed"
        )
    lengths = {name: len(rows) for name, rows in given.items()}
    if len(set(lengths.values())) != 1:
        raise InvalidAskError(f"inputs: they differ in their first dimension: {lengths}")
    shared = _parameters(request)
    if twice := sorted(shared.keys() & given.keys()):
        raise InvalidAskError(f"{twice[0]} is given as a tensor and as a parameter")
    count = next(iter(lengths.values()))
    return parse({"instances": [_instance(given, row) | shared for row in range(count)]})


def response(
    request: InferRequest, version: str, request_ids: Sequence[str], answers: Sequence[Answer]
) -> InferResponse:
    """Return the answers as tensors; rows with fewer than K items end in "", 0 and NaN.

    Args:
        request: that is answered.
        version: of the model.
        request_ids: one per answer.
        answers: B of them.
    """
    tensors = [
        _filled("item_id", [answer.items for answer in answers]),
        _filled("title", [answer.titles for answer in answers]),
        _numbers("score", [answer.scores for answer in answers], 0.0),
    ]
    for kind, told in (
        ("task", [answer.tasks or {} for answer in answers]),
        ("value", [answer.values or {} for answer in answers]),
    ):
        for name in told[0]:
            tensors.append(_numbers(f"{kind}_{name}", [each[name] for each in told], math.nan))
    tensors += [
        _texts("request_id", request_ids),
        *(
            _tensor(n, "INT64", np.array([getattr(a, n) for a in answers], np.int64))
            for n in _COUNTS
        ),
        *(_texts(name, [getattr(a, name) or "" for a in answers]) for name in _WORDS),
        _filled("unknown", [answer.unknown for answer in answers]),
    ]
    return InferResponse(
        request.id or request_ids[0],
        request.model_name,
        tensors,
        version,
        use_binary_outputs=request.use_binary_outputs,
        requested_outputs=request.request_outputs,
    )


_COUNTS = ("history", "dropped")
_WORDS = ("fallback", "basis", "reason")


def _instance(given: dict[str, list[Any]], row: int) -> dict[str, Any]:
    """Return one row of the tensors as an instance of V1."""
    mine = {name: rows[row] for name, rows in given.items()}
    instance: dict[str, Any] = {name: mine[name] for name in _SINGLE if mine.get(name)}
    for name in _LISTS:
        if texts := [text for text in mine.get(name, ()) if text]:
            instance[name] = texts
    if "history_item_id" in mine:
        history = _history(mine)
        if history or "user_id" not in instance:
            instance["history"] = history
    return instance


def _history(mine: dict[str, Any]) -> list[dict[str, Any]]:
    if missing := [name for name in _HISTORY if name not in mine and name not in _MAY_LACK]:
        raise InvalidAskError(f"inputs: history_item_id goes with {', '.join(missing)}")
    widths = {name: len(mine[name]) for name in _HISTORY if name in mine}
    if len(set(widths.values())) != 1:
        raise InvalidAskError(f"inputs: the tensors of the history differ in width: {widths}")
    values = mine.get("history_value") or [math.nan] * widths["history_item_id"]
    surfaces = mine.get("history_surface") or [""] * widths["history_item_id"]
    columns = (mine["history_item_id"], mine["history_action"], mine["history_time"])
    return [
        {"item_id": item, "action": action, "time": time}
        | ({} if math.isnan(value) else {"value": value})
        | ({"surface": surface} if surface else {})
        for item, action, time, value, surface in zip(*columns, values, surfaces, strict=True)
        if item
    ]


def _parameters(request: InferRequest) -> dict[str, Any]:
    given = {key: _plain(value) for key, value in dict(request.parameters or {}).items()}
    given.pop("binary_data_output", None)  # asks for the answer's encoding
    if unknown := sorted(set(given) - set(_PARAMETERS)):
        raise InvalidAskError(f"parameters: {unknown} are unknown; {', '.join(_PARAMETERS)} exist")
    return given


def _values(tensor: InferInput, kinds: tuple[str, ...], dimensions: int) -> list[Any]:
    if tensor.datatype not in kinds or len(tensor.shape) != dimensions:
        shape = "[B]" if dimensions == 1 else "[B, N]"
        raise InvalidAskError(
            f"{tensor.name}: a {kinds[0]} tensor of shape {shape} is read, "
            f"not {tensor.datatype} {tensor.shape}"
        )
    try:
        return _each(tensor.as_numpy().tolist(), _decoded)
    except (ValueError, InvalidInput, InferenceError) as error:
        raise InvalidAskError(f"{tensor.name}: {error}") from None


def _each(values: list[Any], change: Callable[[Any], Any]) -> list[Any]:
    return [_each(each, change) if isinstance(each, list) else change(each) for each in values]


def _decoded(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _plain(parameter: Any) -> Any:
    """Return the value of a parameter: plain over REST, a protobuf union over gRPC."""
    if hasattr(parameter, "WhichOneof"):
        return getattr(parameter, parameter.WhichOneof("parameter_choice"))
    return parameter


def _filled(name: str, rows: Sequence[Sequence[str]]) -> InferOutput:
    width = max(map(len, rows))
    return _texts(name, [[*row, *[""] * (width - len(row))] for row in rows], width)


def _numbers(name: str, rows: Sequence[Sequence[float]], end: float) -> InferOutput:
    width = max(map(len, rows))
    filled = [[*row, *[end] * (width - len(row))] for row in rows]
    return _tensor(name, "FP32", np.array(filled, np.float32).reshape(len(rows), width))


def _texts(name: str, values: Sequence[Any], width: int | None = None) -> InferOutput:
    array = np.array(values, np.object_)
    return _tensor(name, "BYTES", array if width is None else array.reshape(len(values), width))


def _tensor(name: str, datatype: str, values: np.ndarray[Any, Any]) -> InferOutput:
    tensor = InferOutput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=False)
    return tensor
