"""Histories changed so that they still are the same person's: what contrastive learning compares.

Crop, mask and reorder as in Xie et al. 2022, "Contrastive learning for sequential recommendation";
substitution as in Liu et al. 2021, "Contrastive self-supervised sequential recommendation with
robust augmentation", but by words rather than by co-occurrence, so that it can be asked of any
item. Times stay where they are and in order.

Shape letters: B histories, T events in the longest of them, N items of the batch, R some of them,
V columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from recommender.config.self_supervision import SelfSupervisionConfig
from recommender.model.padded import Padded
from recommender.training.losses import LOGITS_AT_ONCE


@dataclass(frozen=True)
class View:
    """Histories after a change.

    Attributes:
        histories: the items are places among the batch's; N stands for a hidden one.
        lengths: events that are left, (B,) int64.
    """

    histories: Padded
    lengths: Tensor


def hidden(lengths_B: Tensor, events: int, share: float) -> Tensor:
    """Return which events are hidden, about a share of each history, (B, T) bool.

    Args:
        lengths_B: events of each history.
        events: T.
        share: of the events.
    """
    device = lengths_B.device
    drawn_BT = torch.rand(len(lengths_B), events, device=device) < share
    return drawn_BT & (torch.arange(events, device=device) < lengths_B[:, None])


def nearest(columns_NV: Tensor) -> Tensor:
    """Return the other item that is nearest in words, by cosine, (N,); itself without words.

    Args:
        columns_NV: whitened text of the batch's items.
    """
    count, device = len(columns_NV), columns_NV.device
    if count < 2:
        return torch.arange(count, device=device)
    unit_NV = nn.functional.normalize(columns_NV, dim=1)
    worded_N = columns_NV.abs().sum(dim=1) > 0
    own_N = torch.arange(count, device=device)
    found = own_N.clone()
    # Some rows at a time (R): a large batch may hold most of a catalogue.
    for own_R in torch.split(own_N, max(1, LOGITS_AT_ONCE // count)):
        alike_RN = unit_NV[own_R] @ unit_NV.T
        alike_RN.scatter_(1, own_R[:, None], -2).masked_fill_(~worded_N, -2)
        best = alike_RN.max(dim=1)
        found[own_R] = torch.where(worded_N[own_R] & (best.values > -2), best.indices, own_R)
    return found


def changed(
    histories: Padded, lengths_B: Tensor, neighbour_N: Tensor, config: SelfSupervisionConfig
) -> View:
    """Change each history in one of the configured ways, drawn for each.

    Args:
        histories: whose items are places among the batch's.
        lengths_B: events of each, (B,).
        neighbour_N: what stands in for each item.
        config: which ways, and how much.
    """
    batch, events = histories.items.shape
    device = histories.items.device
    places_T = torch.arange(events, device=device)
    ways_B = torch.randint(len(config.augmentations), (batch,), device=device)
    index_BT = places_T.expand(batch, -1)
    items, left_B = histories.items, lengths_B
    # A stretch of the history: that which a crop leaves, or whose items change places.
    first_B, count_B = _stretch(lengths_B, config.share)
    kept_B = lengths_B - count_B
    begin_B = (torch.rand(batch, device=device) * (count_B + 1)).long().clamp(max=count_B)
    for way, name in enumerate(config.augmentations):
        mine_B1 = (ways_B == way)[:, None]
        if name == "crop":
            cut_BT = (places_T + begin_B[:, None]).clamp(max=max(0, events - 1))
            index_BT = torch.where(mine_B1, cut_BT, index_BT)
            left_B = torch.where(mine_B1[:, 0], kept_B, left_B)
        elif name == "reorder":
            end_B = first_B + count_B
            inside_BT = (places_T >= first_B[:, None]) & (places_T < end_B[:, None])
            somewhere_BT = (
                first_B[:, None] + torch.rand(batch, events, device=device) * count_B[:, None]
            )
            keys_BT = torch.where(inside_BT, somewhere_BT, places_T.float())
            shuffled_BT = torch.where(mine_B1, keys_BT.argsort(dim=1, stable=True), index_BT)
            index_BT = torch.where(mine_B1, shuffled_BT, index_BT)
        else:
            struck_BT = hidden(lengths_B, events, config.share) & mine_B1
            other = neighbour_N[items.clamp(max=len(neighbour_N) - 1)]
            told = len(neighbour_N) if name == "mask" else other
            items = torch.where(struck_BT, told, items)
    moved = replace(
        histories,
        items=items.gather(1, index_BT),
        actions=histories.actions.gather(1, index_BT),
        times=torch.where(
            (ways_B == _place(config, "crop"))[:, None],
            histories.times.gather(1, index_BT),
            histories.times,
        ),
    )
    return View(moved, left_B)


def _stretch(lengths_B: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the first event and the number of events of a stretch of each history, (B,) each."""
    count_B = (lengths_B * share).long()
    first_B = (
        torch.rand(lengths_B.shape, device=lengths_B.device) * (lengths_B - count_B + 1)
    ).long()
    return torch.minimum(first_B, lengths_B - count_B), count_B


def _place(config: SelfSupervisionConfig, name: str) -> int:
    return config.augmentations.index(name) if name in config.augmentations else -1
