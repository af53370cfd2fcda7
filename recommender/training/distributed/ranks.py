"""The processes of a group: gradients averaged in buckets, figures summed, facts told to all.

The group is made by torchrun's variables (RANK, WORLD_SIZE, MASTER_ADDR …). Gradients go through
`DistributedDataParallel`: exchanged in buckets while the others are still being computed, and with
the last batch of a step only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from recommender.errors import TrainingError
from recommender.features.sequences import Ints
from recommender.model.transformer import UnifiedTransformer
from recommender.training.batches import Batch
from recommender.training.tasks import Lost
from recommender.training.team import Losses, LossesOf, Whole


class RankError(TrainingError):
    """The group can't be made, or another process of it is gone."""

    passing: ClassVar[bool] = True


@dataclass(frozen=True)
class Ranks(Whole):
    """A group of processes that is at work; a `recommender.training.team.Team`.

    Attributes:
        rank: of this process, from 0.
        size: how many they are.
        device: of this process.
    """

    rank: int
    size: int
    device: torch.device

    def losses(self, module: UnifiedTransformer, objective: LossesOf) -> Losses:
        """Return the losses of a batch; their gradients are averaged over the processes."""
        joint = _Together(module, objective)
        if module.bring is not None:
            # Rows that each process has for itself: their gradients go another way.
            kept = [f"module.{name}" for name in module.holders()]
            ignore: Any = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
            ignore(joint, kept)
        together = DistributedDataParallel(
            joint,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            # A batch without targets has no use for some parameters, and another one for others.
            find_unused_parameters=True,
            # Nothing that is no parameter changes in training.
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
        )
        return cast(Losses, together)

    def gathering(self, losses: Losses, *, last: bool) -> AbstractContextManager[None]:
        """Return what a batch is computed in: gradients are exchanged with the last one only."""
        if last:
            return nullcontext()
        waiting: AbstractContextManager[None] = cast(DistributedDataParallel, losses).no_sync()
        return waiting

    def summed(self, values: Sequence[float]) -> list[float]:
        """Return sums over the processes, in double precision."""
        told = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        dist.all_reduce(told)
        return [float(value) for value in told.tolist()]

    def counted(self, own: Ints) -> Ints:
        """Return sums of whole numbers over the processes, of the same shape."""
        told = torch.from_numpy(own.astype(np.int64)).to(self.device)
        dist.all_reduce(told)
        return told.cpu().numpy()

    def told(self, make: Callable[[], Any]) -> Any:
        """Return what the first process makes.

        Args:
            make: called in the first process only; plain JSON values.

        Raises:
            RankError: it failed there; the first process raises what was raised.
        """
        said: dict[str, Any] = {}
        failure: Exception | None = None
        if self.rank == 0:
            try:
                said["made"] = make()
            except Exception as error:  # noqa: BLE001 the others must not wait for ever
                failure = error
                said["failed"] = f"{type(error).__name__}: {error}"
        said = json.loads(self._bytes(json.dumps(said).encode()))
        if failure is not None:
            raise failure
        if "failed" in said:
            raise RankError(f"the first process has failed: {said['failed']}")
        return said["made"]

    def tensors(self, own: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """Return the tensors of the first process, on the CPU.

        Args:
            own: in the first process the tensors by name, else None.
        """
        held = own or {}
        described = self.told(
            lambda: [[name, list(each.shape), str(each.dtype)] for name, each in held.items()]
        )
        found = {}
        for name, shape, kind in described:
            dtype = getattr(torch, kind.removeprefix("torch."))
            value = held[name].detach().cpu() if own else torch.empty(shape, dtype=dtype)
            if value.numel():
                # Exact for every kind of number: what travels are bytes.
                sent = value.contiguous().reshape(-1).view(torch.uint8).to(self.device)
                dist.broadcast(sent, src=0)
                value = sent.cpu().view(dtype).reshape(shape)
            found[name] = value
        return found

    def _bytes(self, own: bytes) -> bytes:
        """Return the bytes of the first process."""
        length = torch.tensor([len(own)], device=self.device)
        dist.broadcast(length, src=0)
        if self.rank == 0:
            sent = torch.frombuffer(bytearray(own), dtype=torch.uint8).to(self.device)
        else:
            sent = torch.empty(int(length), dtype=torch.uint8, device=self.device)
        dist.broadcast(sent, src=0)
        return sent.cpu().numpy().tobytes()


class _Together(nn.Module):
    """A module and its losses as one module: what is called is what gradients are gathered of."""

    def __init__(self, module: UnifiedTransformer, objective: LossesOf) -> None:
        super().__init__()
        self.module = module
        self._objective = objective

    def forward(self, batch: Batch) -> Lost:
        return self._objective(self.module, batch)


@contextmanager
def joined(backend: str, timeout_s: float, meeting: str = "env://") -> Iterator[Ranks]:
    """Join the group that torchrun's variables name, and leave it at the end.

    Args:
        backend: `gloo`, `nccl`, or `auto`: nccl where there is a GPU.
        timeout_s: longest wait for another process, in making the group and in any exchange.
        meeting: where the processes find each other, as torch names it.

    Raises:
        RankError: the group can't be made, or another process is gone.
    """
    gpu = backend == "nccl" or (backend == "auto" and torch.cuda.is_available())
    device = torch.device("cpu")
    if gpu:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    try:
        dist.init_process_group(
            "nccl" if gpu else "gloo",
            init_method=meeting,
            timeout=timedelta(seconds=timeout_s),
            rank=int(os.environ.get("RANK", "0")),
            world_size=int(os.environ.get("WORLD_SIZE", "1")),
        )
    except (ValueError, RuntimeError) as error:
        raise RankError(f"the processes can't find each other: {error}") from error
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    except dist.DistError as error:
        raise _gone(error) from error
    except RuntimeError as error:
        # Gloo says so in words only.
        if "gloo" in str(error) or "Connection closed by peer" in str(error):
            raise _gone(error) from error
        raise
    finally:
        dist.destroy_process_group()


def _gone(error: Exception) -> RankError:
    told = str(error).strip().splitlines()[0][:300]
    return RankError(
        f"another process of the group is gone or hangs: {told}",
        "the launcher starts all of them again, from the last checkpoint",
    )
