"""The field set of Kubeflow Trainer's released models, as an API server validates against it."""

from __future__ import annotations

import types
import typing
from typing import Any

from pydantic import BaseModel

MODELS = {
    "TrainJob": "TrainerV1alpha1TrainJob",
    "ClusterTrainingRuntime": "TrainerV1alpha1ClusterTrainingRuntime",
}
_EITHER = ("ApiResourceQuantity", "UtilIntstrIntOrString")


def problems(value: dict[str, Any]) -> list[str]:
    """Return what is wrong with an object, by path; unknown fields first."""
    import kubeflow_trainer_api.models as models
    from pydantic import ValidationError

    model = getattr(models, MODELS[value["kind"]])
    found = [f"unknown field {path}" for path in unknown(value, model, "")]
    try:
        model.model_validate(value)
    except ValidationError as error:
        found += [
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
            for each in error.errors()
            # The generator knows no types that are a number or a text.
            if not (isinstance(each["input"], str | int) and each["msg"].endswith(_EITHER))
        ]
    return found


def unknown(value: Any, kind: Any, path: str) -> list[str]:
    """Return the paths of fields that the models don't have."""
    kind = _plain(kind)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is list and isinstance(value, list):
        return [p for i, each in enumerate(value) for p in unknown(each, inner[0], f"{path}[{i}]")]
    if origin is dict and isinstance(value, dict):
        return [p for key, each in value.items() for p in unknown(each, inner[1], f"{path}.{key}")]
    if not (isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, dict)):
        return []
    if set(kind.model_fields) <= {"actual_instance", "any_of_schemas", "one_of_schemas"}:
        return []
    fields = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    found = []
    for key, each in value.items():
        where = f"{path}.{key}".lstrip(".")
        found += unknown(each, fields[key], where) if key in fields else [where]
    return found


def _plain(kind: Any) -> Any:
    """Return a type without Optional and Annotated."""
    while True:
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            kind = inner[0]
        elif origin in (typing.Union, types.UnionType):
            (kind,) = [each for each in inner if each is not type(None)]
        else:
            return kind
