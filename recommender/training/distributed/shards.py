"""Item tables shared out by rows: each process keeps some of them, and asks for those it reads.

What is learned of each item alone (`UnifiedTransformer.holders`) lies in ranges of rows, one per
process, with its gradients and moments. The rows of a batch are brought from whoever keeps them and
stand in for the tables; after the last batch of a step their gradients go back.

Shape letters: I items, R rows asked for, N rows looked up, W columns of all tables side by side.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recommender.model.transformer import UnifiedTransformer
from recommender.training.distributed.ranks import Ranks


def row_range(items: int, rank: int, size: int) -> tuple[int, int]:
    """Return the first row that a process keeps, and the first one behind."""
    return items * rank // size, items * (rank + 1) // size


class ItemShards:
    """The rows that this process keeps of a module's item tables, and its way to the others.

    Args:
        module: on the CPU, with whole tables; afterwards it holds this process's rows.
        ranks: the group.
        rounds: how often each process asks in a step. Who has fewer batches asks for nothing, or
            the others would wait for ever.

    Attributes:
        ranges: first row, and first row behind, of each process.
    """

    def __init__(self, module: UnifiedTransformer, ranks: Ranks, rounds: int) -> None:
        items, device = len(module.tower.text_IV), ranks.device
        self._module = module
        self._ranks = ranks
        self._rounds = rounds
        self.ranges = [row_range(items, each, ranks.size) for each in range(ranks.size)]
        first, stop = self.ranges[ranks.rank]
        self._ends = torch.tensor([behind for _, behind in self.ranges], device=device)
        self._rows = torch.zeros(0, dtype=torch.int64, device=device)
        self._values = torch.zeros(0, device=device)
        self._asked: list[tuple[Tensor, Tensor]] = []
        self._columns: dict[str, slice] = {}
        used = 0
        for name, holder in module.holders().items():
            table = module.get_parameter(name).detach()
            # A copy: a view would keep all of the table alive.
            setattr(holder, _last(name), nn.Parameter(table[first:stop].clone()))
            self._columns[name] = slice(used, used + table[0].numel())
            used = self._columns[name].stop
            holder.elsewhere = partial(self._looked_up, name)
        module.bring = self.bring

    def bring(self, rows_R: Tensor) -> None:
        """Have the rows brought that a batch reads; once for every batch.

        Args:
            rows_R: catalogue rows, ascending and distinct.
        """
        values_RW = self.fetch(rows_R).requires_grad_()
        self._asked.append((rows_R, values_RW))
        self.show(rows_R, values_RW)

    def keep_up(self) -> None:
        """Ask for nothing, where others have more batches in a step; before the last of ours."""
        while len(self._asked) < self._rounds - 1:
            self.bring(self._rows[:0])

    def show(self, rows_R: Tensor, values_RW: Tensor) -> None:
        """Let the module read these rows where it would read its tables."""
        self._rows, self._values = rows_R, values_RW

    @torch.no_grad()
    def fetch(self, rows_R: Tensor) -> Tensor:
        """Return rows of all tables side by side, (R, W); every process must ask at a time.

        Args:
            rows_R: catalogue rows, ascending and distinct.
        """
        counts, others = self._counts(rows_R)
        wanted = self._sent(rows_R, counts, others) - self._first
        return self._sent(self._own(wanted), others, counts)

    @torch.no_grad()
    def of(self, rank: int) -> tuple[Tensor, Tensor]:
        """Return the rows that a process keeps, and what is in them; every process must ask."""
        first, stop = self.ranges[rank]
        device = self._ranks.device
        rows_R = torch.arange(first, stop, device=device)
        if rank == self._ranks.rank:
            values_RW = self._own(rows_R - first)
        else:
            width = max(columns.stop for columns in self._columns.values())
            values_RW = torch.empty(stop - first, width, device=device)
        dist.broadcast(values_RW, src=rank)
        return rows_R, values_RW

    def working(self, here: bool) -> bool:
        """Return whether any process still has something to score; every process must ask."""
        return self._ranks.summed([float(here)])[0] > 0

    @torch.no_grad()
    def clip(self, most: float) -> float:
        """Give gradients back, and scale all to a norm of at most `most`; return the norm."""
        self._give_back()
        kept = [grad for table in self._tables().values() if (grad := table.grad) is not None]
        rows = [grad.values() if grad.is_sparse else grad for grad in kept]
        ours = {id(grad) for grad in kept}
        dense = [
            each.grad
            for each in self._module.parameters()
            if each.grad is not None and id(each.grad) not in ours
        ]
        squares = sum(float(grad.double().square().sum()) for grad in rows)
        elsewhere = self._ranks.summed([squares])[0]
        norm = (torch.nn.utils.get_total_norm(dense).double().square() + elsewhere).sqrt()
        factor = torch.clamp(most / (norm + 1e-6), max=1.0)
        for grad in (*dense, *rows):
            grad.mul_(factor)
        return float(norm)

    @torch.no_grad()
    def put_together(self) -> None:
        """Make the module's tables whole again, on the CPU."""
        parts = [self.of(rank)[1].cpu() for rank in range(self._ranks.size)]
        whole_IW = torch.cat(parts)
        for name, holder in self._module.holders().items():
            shape = (len(whole_IW), *self._module.get_parameter(name).shape[1:])
            table = whole_IW[:, self._columns[name]].reshape(shape).clone()
            setattr(holder, _last(name), nn.Parameter(table))
            holder.elsewhere = None
        self._module.bring = None

    @property
    def _first(self) -> int:
        return self.ranges[self._ranks.rank][0]

    def _tables(self) -> dict[str, nn.Parameter]:
        return {name: self._module.get_parameter(name) for name in self._columns}

    def _own(self, places_R: Tensor) -> Tensor:
        """Return some of the rows that are kept here, all tables side by side."""
        tables = [table.detach() for table in self._tables().values()]
        parts = [
            table[places_R.to(table.device)].flatten(1)
            if table.ndim > 1
            else table[places_R.to(table.device), None]
            for table in tables
        ]
        return torch.cat(parts, dim=1).to(self._ranks.device)

    def _looked_up(self, name: str, rows_N: Tensor) -> Tensor:
        """Return rows of a table, of those that are shown."""
        places_N = torch.searchsorted(self._rows, rows_N)
        found: Tensor = nn.functional.embedding(places_N, self._values[:, self._columns[name]])
        return found if self._module.get_parameter(name).ndim > 1 else found.squeeze(-1)

    def _give_back(self) -> None:
        """Send the gradients of a step to whoever keeps the rows; take those of ours."""
        asked, self._asked = self._asked, []
        rows = torch.cat([rows_R for rows_R, _ in asked])
        grads = torch.cat([torch.zeros_like(v) if v.grad is None else v.grad for _, v in asked])
        rows_R, grad_RW = _summed(rows, grads)
        counts, others = self._counts(rows_R)
        rows = self._sent(rows_R, counts, others) - self._first
        rows_R, grad_RW = _summed(rows, self._sent(grad_RW, counts, others))
        grad_RW /= self._ranks.size  # a mean, as the other gradients are
        by_row = self._module.row_tables()
        for name, table in self._tables().items():
            grad = grad_RW[:, self._columns[name]].reshape(len(rows_R), *table.shape[1:])
            if any(table is each for each in by_row):
                table.grad = torch.sparse_coo_tensor(
                    rows_R[None], grad, table.shape, is_coalesced=True, check_invariants=False
                )
            else:
                table.grad = torch.zeros_like(table).index_copy_(0, rows_R, grad)

    def _counts(self, rows_R: Tensor) -> tuple[list[int], list[int]]:
        """Return how many of our rows each process keeps, and how many of theirs we do."""
        behind = torch.searchsorted(rows_R, self._ends)
        ours = behind.diff(prepend=behind.new_zeros(1))
        theirs = torch.empty_like(ours)
        dist.all_to_all_single(theirs, ours)
        return ours.tolist(), theirs.tolist()

    @staticmethod
    def _sent(own: Tensor, out: list[int], back: list[int]) -> Tensor:
        """Return what others send us, for what we send them: so many rows to and from each."""
        got = own.new_empty(sum(back), *own.shape[1:])
        dist.all_to_all_single(got, own.contiguous(), back, out)
        return got


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _summed(rows: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return distinct rows, ascending, and of each the sum of its values."""
    distinct, place = torch.unique(rows, return_inverse=True)
    sums = values.new_zeros(len(distinct), *values.shape[1:])
    return distinct, sums.index_add_(0, place, values)


def collected(own: Tensor, ranks: Ranks) -> Tensor:
    """Return in the first process the rows of all, on the CPU; in the others their own.

    Args:
        own: the rows of this process, (…, any).
        ranks: the group.
    """
    lengths = torch.zeros(ranks.size, dtype=torch.int64, device=ranks.device)
    lengths[ranks.rank] = len(own)
    dist.all_reduce(lengths)
    if ranks.rank:
        dist.send(own.to(ranks.device).contiguous(), dst=0)
        return own
    whole = own.new_empty(int(lengths.sum()), *own.shape[1:], device="cpu")
    whole[: len(own)] = own
    for rank, part in enumerate(torch.split(whole, lengths.tolist())):
        if rank:
            got = own.new_empty(part.shape, device=ranks.device)
            dist.recv(got, src=rank)
            part.copy_(got)
    return whole


def shared_out(whole: Tensor | None, shape: list[int], kind: str, ranks: Ranks) -> Tensor:
    """Return this process's rows of what the first one has, on the CPU.

    Args:
        whole: in the first process all rows, else None.
        shape: of it.
        kind: its type, as torch names it.
        ranks: the group.
    """
    ranges = [row_range(shape[0], rank, ranks.size) for rank in range(ranks.size)]
    if whole is not None:
        for rank, (first, stop) in enumerate(ranges):
            if rank:
                dist.send(whole[first:stop].contiguous().to(ranks.device), dst=rank)
        return whole[: ranges[0][1]].clone()
    first, stop = ranges[ranks.rank]
    dtype = getattr(torch, kind.removeprefix("torch."))
    got = torch.empty(stop - first, *shape[1:], dtype=dtype, device=ranks.device)
    dist.recv(got, src=0)
    return got.cpu()
