"""Windows in batches: like lengths together, a budget of tokens, the order fixed by seed and epoch.

Shape letters: B windows of a batch, T events in the longest of them, C contexts, N item targets,
M action targets, G values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recommender.features.sequences import Ints
from recommender.model.heads import Contexts
from recommender.model.padded import Padded, tensor
from recommender.training.examples import Examples
from recommender.training.losses import Targets


def plan(examples: Examples, tokens: int, seed: int, epoch: int) -> list[Ints]:
    """Return the windows of every batch of an epoch.

    Args:
        examples: the windows.
        tokens: padded states, and contexts, of one batch at most (one window may be more).
        seed: the same seed and epoch give the same plan.
        epoch: from 0.
    """
    random = np.random.default_rng([seed, epoch])
    states_W = examples.window_length + 1
    contexts_W = np.diff(examples.context_offsets)
    # A little noise in the lengths mixes the batches anew every epoch and pads little.
    order = np.argsort(states_W * (1 + 0.1 * random.random(len(states_W))), kind="stable")
    batches: list[Ints] = []
    start, longest, contexts = 0, 0, 0
    for place, window in enumerate(order):
        grown = max(longest, int(states_W[window]))
        more = contexts + int(contexts_W[window])
        if place > start and (grown * (place - start + 1) > tokens or more > tokens):
            batches.append(order[start:place])
            start, grown, more = place, int(states_W[window]), int(contexts_W[window])
        longest, contexts = grown, more
    batches.append(order[start:])
    return [batches[place] for place in random.permutation(len(batches))]


@dataclass(frozen=True)
class Batch:
    """Windows as tensors, padded behind their ends, and their contexts and targets.

    Attributes:
        histories: the windows.
        contexts: where the model is asked.
        asked: the contexts that have item targets, ascending, (K,).
        slice: row of the popularity table of each of them, (K,).
        targets: item targets; their contexts are places in `asked`.
        action_context, action_item, action: action targets, (M,) each; `action` is code - 1.
        action_slice: row of the popularity table of each of them, (M,).
        value: what came of them, NaN where nothing did, (M, G).
        tokens: events in the windows, without padding.
    """

    histories: Padded
    contexts: Contexts
    asked: Tensor
    slice: Tensor
    targets: Targets
    action_context: Tensor
    action_item: Tensor
    action: Tensor
    action_slice: Tensor
    value: Tensor
    tokens: int

    @classmethod
    def of(cls, examples: Examples, windows: Ints) -> Batch:
        """Gather the windows."""
        lengths = examples.window_length[windows]
        row, contexts = _ranges(examples.context_offsets, windows)
        wanted = np.diff(examples.item_offsets)[contexts]
        asked = np.flatnonzero(wanted)
        item_context, item_rows = _ranges(examples.item_offsets, contexts[asked])
        action_context, action_rows = _ranges(examples.action_offsets, contexts)
        return cls(
            histories=Padded.cut(
                examples.history,
                examples.window_start[windows],
                lengths,
                surfaces=examples.surface is not None,
                people=None if examples.people is None else examples.people[windows],
            ),
            contexts=Contexts(
                tensor(row),
                tensor(examples.position[contexts]),
                tensor(examples.now[contexts]),
                None if examples.surface is None else tensor(examples.surface[contexts]),
            ),
            asked=tensor(asked),
            slice=tensor(examples.slice[contexts[asked]]),
            targets=Targets(
                tensor(item_context),
                tensor(examples.item[item_rows]),
                torch.from_numpy(examples.weight[item_rows]),
            ),
            action_context=tensor(action_context),
            action_item=tensor(examples.action_item[action_rows]),
            action=tensor(examples.action[action_rows]) - 1,
            action_slice=tensor(examples.slice[contexts[action_context]]),
            value=torch.from_numpy(examples.value[action_rows]),
            tokens=int(lengths.sum()),
        )


def among(batch: Batch, rows_R: Tensor) -> Batch:
    """Return a batch whose histories and action targets name items by their places among some rows.

    Args:
        batch: of windows.
        rows_R: catalogue rows, ascending; all items of histories and action targets among them.
    """
    histories = batch.histories
    return replace(
        batch,
        histories=replace(histories, items=torch.searchsorted(rows_R, histories.items)),
        action_item=torch.searchsorted(rows_R, batch.action_item),
    )


def with_empty(batch: Batch, chosen_K: Tensor) -> Batch:
    """Return a batch that asks some of its contexts again, as if there were no history.

    Args:
        batch: of windows.
        chosen_K: which of the contexts that have item targets, (K,) bool.
    """
    chosen = chosen_K.nonzero()[:, 0]
    again = batch.asked[chosen]
    contexts, targets = batch.contexts, batch.targets
    place_K = torch.full_like(batch.asked, -1)
    count_K = torch.arange(len(chosen), device=chosen.device)
    place_K[chosen] = count_K + len(batch.asked)
    context_N = place_K[targets.context]
    copied = context_N >= 0
    return replace(
        batch,
        contexts=Contexts(
            torch.cat([contexts.row, contexts.row[again]]),
            torch.cat([contexts.position, torch.zeros_like(again)]),
            torch.cat([contexts.now, contexts.now[again]]),
            None
            if contexts.surface is None
            else torch.cat([contexts.surface, contexts.surface[again]]),
        ),
        asked=torch.cat([batch.asked, count_K + len(contexts)]),
        slice=torch.cat([batch.slice, batch.slice[chosen]]),
        targets=Targets(
            torch.cat([targets.context, context_N[copied]]),
            torch.cat([targets.item, targets.item[copied]]),
            torch.cat([targets.weight, targets.weight[copied]]),
        ),
    )


def _ranges(offsets: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Lay the ranges `[offsets[r], offsets[r + 1])` of `rows` end to end.

    Returns:
        for every element, the place of its row in `rows`, and the element.
    """
    starts, counts = offsets[rows], offsets[rows + 1] - offsets[rows]
    owner = np.repeat(np.arange(len(rows)), counts)
    shift = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return owner, np.arange(len(owner)) - shift[owner] + starts[owner]
