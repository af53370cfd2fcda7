"""Scores of a Transformer from which some of what it reads is hidden.

Shape letters: I items of the catalogue, D width.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recommender.explain.occlusion import Doubles
from recommender.explain.shares import Coalition
from recommender.features.sequences import Histories
from recommender.model.heads import Contexts, Pairs
from recommender.model.modalities import Edit, Modality, tensors_of
from recommender.model.moving import moved
from recommender.model.padded import Padded
from recommender.model.scorer import TransformerScorer, asked
from recommender.model.transformer import UnifiedTransformer

_START = "popularity."


class HiddenFrom:
    """One request to a Transformer, answered as if it could read less.

    A score is the sum of where the item starts (popularity, demand, its learned rest), how well it
    matches the query, and its bonus if it is in the history. What one of these does not depend on
    does not make it be computed again.

    Args:
        scorer: trained, and nobody else's (`apart`): it reads less while it answers.
        history: one.
        modalities: what it reads; `modalities_of` the scorer, or of one with more items.
    """

    def __init__(
        self, scorer: TransformerScorer, history: Histories, modalities: Sequence[Modality]
    ) -> None:
        module = scorer.module
        self._known = tensors_of(module)
        self._modalities = {each.name: each for each in modalities}
        self._start, self._asked = _Start(module), _Asked(module)
        lengths = np.minimum(history.lengths, module.config.history)
        padded, contexts = asked(history, np.zeros(1, np.int64), lengths, module.reads)
        device = module.log_scale.device
        self._request = moved(padded, device), moved(contexts, device)
        self._starts: dict[Coalition, Doubles] = {}
        self._read: dict[Coalition, tuple[Doubles, Doubles]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """What the model reads."""
        return tuple(self._modalities)

    def scores(self, shown: Coalition) -> Doubles:
        """Return the score of every item, (I,).

        Args:
            shown: names of what the model may read; everything else is hidden.
        """
        hidden = [each for each in self._modalities.values() if each.name not in shown]
        start_I = self._starting(hidden)
        repeats = "repeats" in shown
        if not repeats and not any(self._modalities[name].of_items for name in shown):
            # All item vectors are nought, and so is what they match.
            return start_I
        match_I, bonus_I = self._matching(hidden)
        return start_I + match_I + bonus_I if repeats else start_I + match_I

    def _starting(self, hidden: list[Modality]) -> Doubles:
        edits = [(each.name, each.edits) for each in hidden]
        key = frozenset(name for name, told in edits if any(_starts(weight) for weight in told))
        if key not in self._starts:
            changed = self._changed(
                (weight, edit)
                for _, told in edits
                for weight, edit in told.items()
                if _starts(weight)
            )
            self._starts[key] = _numbers(_call(self._start, changed, ()))
        return self._starts[key]

    def _matching(self, hidden: list[Modality]) -> tuple[Doubles, Doubles]:
        edits = [(each.name, each.edits) for each in hidden if each.name != "repeats"]
        key = frozenset(name for name, told in edits if not all(_starts(weight) for weight in told))
        if key not in self._read:
            changed = self._changed(
                (weight, edit)
                for _, told in edits
                for weight, edit in told.items()
                if not _starts(weight)
            )
            match_I, bonus_I = _call(self._asked, changed, self._request)
            self._read[key] = _numbers(match_I), _numbers(bonus_I)
        return self._read[key]

    def _changed(self, edits: Iterable[tuple[str, Edit]]) -> dict[str, Tensor]:
        changed: dict[str, Tensor] = {}
        for weight, edit in edits:
            changed[weight] = edit(changed.get(weight, self._known[weight]))
        return changed


class _Start(nn.Module):
    """Where items start."""

    def __init__(self, module: UnifiedTransformer) -> None:
        super().__init__()
        self.of = module

    def forward(self) -> Tensor:
        start_I: Tensor = self.of.popularity()
        return start_I


class _Asked(nn.Module):
    """What a history adds: for every item the match, and the bonus of a repeat."""

    def __init__(self, module: UnifiedTransformer) -> None:
        super().__init__()
        self.of = module

    def forward(self, history: Padded, context: Contexts) -> tuple[Tensor, Tensor]:
        module = self.of
        items_ID = module.item_vectors()
        query_1D = module.queries(items_ID, history, context)
        match_I = items_ID @ module.scaled(query_1D)[0]
        bonus_I = torch.zeros_like(match_I)
        if module.repeats is not None:
            pairs = Pairs.of(history.items, context)
            added_P = module.repeats(pairs, context, history.times, query_1D, items_ID)
            bonus_I[pairs.item] = added_P
        return match_I, bonus_I


def apart(scorer: TransformerScorer) -> TransformerScorer:
    """Return a scorer with the same weights, in the same memory, that nobody else uses."""
    module = scorer.module
    tensors = [*module.parameters(), *module.buffers()]
    own = copy.deepcopy(module, {id(each): each for each in tensors})
    # Made for batches on a GPU, and there is one history.
    own.packed = False
    return TransformerScorer(own, scorer.catalogue)


def _starts(weight: str) -> bool:
    return weight.startswith(_START)


def _call(part: nn.Module, changed: dict[str, Tensor], given: tuple[Any, ...]) -> Any:
    with torch.inference_mode():
        own = {f"of.{name}": tensor for name, tensor in changed.items()}
        # Two names of one tensor are hidden each by itself.
        return torch.func.functional_call(part, own, given, tie_weights=False)


def _numbers(tensor_I: Tensor) -> Doubles:
    return tensor_I.cpu().numpy().astype(np.float64)
