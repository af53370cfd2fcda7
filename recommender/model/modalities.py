"""What a Transformer reads, by name, and how each of it is hidden from it.

A modality is hidden by other values of the weights that read it: those under which the model makes
the same of whatever it is given there. So every shape of the model is hidden from in the same way,
and at both ends: an item's text, say, is hidden in the history and in the item that is scored.

Shape letters: V columns of the item tower, F popularity features, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from recommender.model.transformer import UnifiedTransformer
from recommender.training.demand import FEATURES as DEMANDED
from recommender.training.popularity import SMOOTHING

Edit = Callable[[Tensor], Tensor]
"""From a weight to one that reads less, of the same shape."""

_COLUMNS = "tower.projection_DV"
_MATCH = ("match.without_id", "match.with_id")
_POPULARITY = "popularity.popularity_IF"
_ROWS = 4096


@dataclass(frozen=True)
class Modality:
    """Something that a model reads.

    Attributes:
        name: unlike any other's.
        edits: what hides it, by the names of parameters and buffers; edits of one tensor by
            several modalities can be made one after the other, in any order.
        of_items: whether it says what an item is: without all of these, all item vectors are
            nought.
    """

    name: str
    edits: Mapping[str, Edit]
    of_items: bool = False


def modalities_of(module: UnifiedTransformer, plain_action: int) -> list[Modality]:
    """Return what a model reads, each once; what it does not read is not among them.

    What it makes of each where that is hidden:

    ===============  =============================================================================
    `item_id`        an item that was not seen in training
    `text`           an item without words
    `categories`, `brand`, `price`, `number:<name>`, `vector:<name>`   an item that has none
    `action`         every event was of the plainest type
    `surface`        everything happened, and is shown, where nobody knows
    `time`           gaps between events are not known, also to attention; hour and weekday are the
                     mean ones
    `order`          to attention all events lie at one place, and how many events ago an item was
                     there already earns no bonus
    `person`         nobody knows who asks
    `request_time`   how long ago events were is not known, and earns no bonus; hour and weekday
                     are the mean ones
    `popularity`     items that nobody has taken
    `demand`         items that nobody is foretold to take
    `repeats`        being in the history earns no bonus
    ===============  =============================================================================

    Columns of items that are nought throughout the catalogue (the text of one without words) are
    not read, and ids are not where no item was seen in training.

    Args:
        module: of the whole catalogue.
        plain_action: code of the plainest event type that histories have.
    """
    known = tensors_of(module)
    made = [
        Modality("item_id", {"tower.known_I": _nought, "popularity.known_I": _nought}, True),
        *_columns(module),
        Modality("action", {"inputs.action.weight": _row(plain_action)}),
        Modality(
            "surface", {"inputs.action.surface.weight": _row(0), "request.surface.weight": _row(0)}
        ),
        Modality(
            "time",
            {
                "inputs.gap.weight": _row(0),
                "inputs.hour.weight": _mean,
                "inputs.weekday.weight": _mean,
                "bias.time_HN": _nearest,
            },
        ),
        Modality(
            "order",
            {
                "bias.place_HN": _nearest,
                "place_SD": _row(0),
                "rotary.frequency_K": _nought,
                "repeats.since_1N": _nought,
                "match.since_1N": _nought,
            },
        ),
        Modality("person", {"inputs.person.table.weight": _unknown(module)}),
        Modality(
            "request_time",
            {
                "request.inputs.gap.weight": _row(0),
                "request.inputs.hour.weight": _mean,
                "request.inputs.weekday.weight": _mean,
                "repeats.ago_1N": _nought,
            },
        ),
        *_popularity(module),
        Modality("repeats", {name: _nought for name in known if name.startswith("repeats.")}),
    ]
    read = []
    for each in made:
        edits = {name: edit for name, edit in each.edits.items() if name in known}
        if edits:
            read.append(Modality(each.name, edits, each.of_items))
    if not bool(module.tower.known_I.any()):
        read = [each for each in read if each.name != "item_id"]
    return read


def tensors_of(module: UnifiedTransformer) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, also such that are one tensor of two names."""
    named = dict(module.named_parameters(remove_duplicate=False))
    return named | dict(module.named_buffers(remove_duplicate=False))


def _columns(module: UnifiedTransformer) -> list[Modality]:
    columns_IV = module.tower.text_IV
    found = []
    for name, span in module.reads.columns(columns_IV.shape[1]).items():
        # Some rows at a time: where anything is said at all, the first ones mostly tell.
        if any(bool(rows_NV.any()) for rows_NV in torch.split(columns_IV[:, span], _ROWS)):
            beside = dict.fromkeys(_MATCH, _nought) if name == "text" else {}
            found.append(Modality(name, {_COLUMNS: _without(span), **beside}, True))
    return found


def _popularity(module: UnifiedTransformer) -> list[Modality]:
    features = module.popularity.popularity_IF.shape[1]
    memories = features - DEMANDED if module.config.demand else features
    floor = float(torch.tensor(SMOOTHING).log())
    found = [Modality("popularity", {_POPULARITY: _without(slice(memories), floor)})]
    if module.config.demand:
        found.append(Modality("demand", {_POPULARITY: _without(slice(memories, None), floor)}))
    return found


def _nought(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight)


def _nearest(table_HN: Tensor) -> Tensor:
    """Return the numbers of bucket 0, which is that of no distance, for every bucket."""
    return table_HN[:, :1].expand_as(table_HN)


def _mean(weight_XD: Tensor) -> Tensor:
    return weight_XD.mean(dim=0, keepdim=True).expand_as(weight_XD)


def _row(row: int) -> Edit:
    return lambda weight_XD: weight_XD[row : row + 1].expand_as(weight_XD)


def _without(span: slice, value: float = 0.0) -> Edit:
    """Return an edit of columns."""

    def edit(weight_XV: Tensor) -> Tensor:
        changed_XV = weight_XV.clone()
        changed_XV[:, span] = value
        return changed_XV

    return edit


def _unknown(module: UnifiedTransformer) -> Edit:
    """Return an edit that gives all values of each attribute of people the row of "unknown"."""
    sizes = torch.tensor(module.reads.people.sizes, dtype=torch.int64)
    first_P = sizes.cumsum(0) - sizes
    row_X = first_P.repeat_interleave(sizes)
    return lambda weight_XD: weight_XD[row_X.to(weight_XD.device)]
