"""Low-rank adapters of a module's linear maps, in the file layout of the library `peft`.

An adapted map computes W x + s B A x with two thin matrices A and B (Hu et al. 2021, "LoRA:
low-rank adaptation of large language models", §4.1). It is made a part of the weight itself, so
that everything that reads the weight sees W + s B A, whichever way it multiplies by it.

A folder of adapters holds `adapter_config.json` and `adapter_model.safetensors`, which
`peft.PeftModel.from_pretrained` loads onto the base that they belong on. Tensors that were trained
whole beside the adapters lie there, too, under the base's own names, and take the place of its.
(Not as `modules_to_save`: `peft` finds these by how a name ends, and so takes parts for others.)

The base must have rows for the items of the refresh first: `recommender.model.extended.rows_for`.

Shape letters: D outputs of a linear map, K its inputs, R rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from recommender.errors import ArtifactError, StorageError
from recommender.files import atomic_directory, read_json, write_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."


class LowRank(nn.Module):
    """What is added to one weight; nothing at first, because B begins as zeros.

    Args:
        outputs: D.
        inputs: K.
        rank: R.
        scale: s.
    """

    def __init__(self, outputs: int, inputs: int, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.a_RK = nn.Parameter(torch.empty(rank, inputs))
        self.b_DR = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.a_RK, a=5**0.5)

    def forward(self, weight_DK: Tensor) -> Tensor:
        """Return the adapted weight, (D, K)."""
        return torch.addmm(weight_DK, self.b_DR, self.a_RK, alpha=self.scale)


@dataclass(frozen=True)
class Shape:
    """How adapters are made.

    Attributes:
        rank: R.
        alpha: s × R.
    """

    rank: int
    alpha: float

    @property
    def scale(self) -> float:
        """What the product of an adapter is multiplied by, s."""
        return self.alpha / self.rank


def linear_maps(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the linear maps of a module, which is what adapters are put on."""
    return tuple(name for name, part in module.named_modules() if isinstance(part, nn.Linear))


def adapt(module: nn.Module, shape: Shape, names: Sequence[str] = ()) -> None:
    """Freeze a module and put an adapter on each of its linear maps, in place.

    Its answers stay as they are until the adapters are trained.

    Args:
        module: bare.
        shape: of the adapters.
        names: of the linear maps; all of them by default.
    """
    module.requires_grad_(False)
    for name in names or linear_maps(module):
        part = module.get_submodule(name)
        outputs, inputs = part.get_parameter("weight").shape
        adapter = LowRank(outputs, inputs, shape.rank, shape.scale)
        # The check would compute the weight once more; the sum has the weight's shape and kind.
        parametrize.register_parametrization(part, "weight", adapter, unsafe=True)


def adapters(module: nn.Module) -> dict[str, LowRank]:
    """Return the adapters of a module by the name of their linear map."""
    found = {}
    for name, part in module.named_modules():
        if parametrize.is_parametrized(part, "weight"):
            (each, *_) = part.get_submodule("parametrizations.weight").children()
            if isinstance(each, LowRank):
                found[name] = each
    return found


def merged(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a bare module that answers as the adapted one does.

    Args:
        module: adapted; it stays as it is.
    """
    made, state = adapters(module), {}
    for key, value in module.state_dict().items():
        name, mark, rest = key.partition(".parametrizations.weight.")
        if not mark:
            state[key] = value.clone()
        elif rest == "original":
            with torch.no_grad():
                state[f"{name}.weight"] = made[name](value)
    return state


def write(module: nn.Module, folder: Path, shape: Shape, base: str, whole: Iterable[str]) -> None:
    """Write the adapters of a module, atomically.

    Args:
        module: adapted, not merged.
        folder: to write.
        shape: of the adapters.
        base: what the adapters belong on; a version of the registry.
        whole: names of submodules and of tensors that were trained beside the adapters.

    Raises:
        StorageError: the folder can't be written.
    """
    whole, made = set(whole), adapters(module)
    tensors: dict[str, Tensor] = {}
    for name, adapter in made.items():
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = adapter.a_RK.detach().clone()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = adapter.b_DR.detach().clone()
    for key, value in module.state_dict().items():
        if any(key == name or key.startswith(f"{name}.") for name in whole):
            tensors[f"{_PREFIX}{key}"] = value.detach().clone().contiguous()
    described: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "r": shape.rank,
        "lora_alpha": shape.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted(made),
        "modules_to_save": None,
    }
    with atomic_directory(folder) as temporary:
        save_file(tensors, temporary / WEIGHTS, metadata={"format": "pt"})
        write_json(temporary / CONFIG, described)


def read(module: nn.Module, folder: Path) -> str:
    """Put the adapters of a folder on a module, in place, and the parts that were trained whole.

    Args:
        module: the base that they belong on, with rows for the items of the refresh (`rows_for`).
        folder: as `write` left it, or `peft` with plain LoRA.

    Returns:
        what the adapters say that they belong on.

    Raises:
        ArtifactError: a file is missing or damaged, or the adapters don't fit the module.
    """
    try:
        described = read_json(folder / CONFIG)
        tensors = load_file(folder / WEIGHTS)
        shape = Shape(int(described["r"]), float(described["lora_alpha"]))
        adapt(module, shape, described["target_modules"])
        taken = set()
        for name, adapter in adapters(module).items():
            for letter, into in (("A", adapter.a_RK), ("B", adapter.b_DR)):
                key = f"{_PREFIX}{name}.lora_{letter}.weight"
                _copy(tensors[key], into, key)
                taken.add(key)
        for key in tensors.keys() - taken:
            _copy(tensors[key], module.state_dict()[key.removeprefix(_PREFIX)], key)
    except (StorageError, SafetensorError, OSError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder} holds no readable adapters: {error}") from error
    except (ValueError, AttributeError) as error:
        raise ArtifactError(f"the adapters in {folder} don't fit this model: {error}") from error
    return str(described["base_model_name_or_path"])


def _copy(tensor: Tensor, into: Tensor, name: str) -> None:
    if tensor.shape != into.shape:
        raise ValueError(f"{name} is {tuple(tensor.shape)}, {tuple(into.shape)} is wanted")
    with torch.no_grad():
        into.copy_(tensor)
