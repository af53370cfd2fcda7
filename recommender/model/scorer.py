"""The Transformer behind `recommender.scoring.Scorer`.

Shape letters: B histories, T events in the longest of them, C contexts (one per history),
I items, K items of one question, A event types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from recommender.config.model import ModelConfig
from recommender.features.sequences import Catalogue, Histories
from recommender.model.heads import Contexts
from recommender.model.moving import moved
from recommender.model.padded import Padded, tensor
from recommender.model.ranking import Judged
from recommender.model.reads import Reads
from recommender.model.transformer import UnifiedTransformer
from recommender.scoring import Floats

_STATES_AT_ONCE = 16_384
_LOGITS_AT_ONCE = 2**24
_TRANSPOSED = {
    "bias.place.weight": "bias.place_HN",
    "bias.time.weight": "bias.time_HN",
    "repeats.ago.weight": "repeats.ago_1N",
    "repeats.since.weight": "repeats.since_1N",
    "repeats.count.weight": "repeats.count_1N",
}
"""Weights by the names, and in the shape, that artifacts of version 0.1 of November 2026 have."""


class TransformerScorer:
    """Scores the catalogue, and the actions on chosen items, by a trained Transformer.

    Histories longer than `config.history` are cut to their most recent events. The number of
    threads is the caller's business.

    Args:
        module: trained; it is put into evaluation mode.
        catalogue: the items, in the order of the module's rows.
    """

    kind: ClassVar[str] = "transformer"

    def __init__(self, module: UnifiedTransformer, catalogue: Catalogue) -> None:
        if len(module.tower.text_IV) != len(catalogue):
            raise ValueError(f"{len(module.tower.text_IV)} rows for {len(catalogue)} items")
        self.module = module.eval()
        self._catalogue = catalogue
        with torch.inference_mode():
            self._items_ID = module.item_vectors()
            self._base_I = module.popularity()

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        return self._catalogue

    @property
    def parameters(self) -> int:
        """How many numbers were trained."""
        return sum(each.numel() for each in self.module.parameters())

    @property
    def reads_profiles(self) -> bool:
        """Whether it matters who asks (`Histories.people`)."""
        return self.module.reads.profiles

    @property
    def reads_surfaces(self) -> bool:
        """Whether it matters where events happened, and where it is asked."""
        return bool(self.module.reads.surfaces)

    def scores(self, histories: Histories) -> Floats:
        """Return the logit of every item, (B, I)."""
        scores_BI = np.empty((len(histories), len(self._catalogue)), np.float32)
        for rows, padded, contexts in self._batches(histories):
            with torch.inference_mode():
                logits = self.module.catalogue_logits(
                    self._items_ID, self._base_I, padded, contexts
                )
            scores_BI[rows] = logits.cpu().numpy()
        return scores_BI

    def action_probabilities(self, histories: Histories, items: NDArray[np.int64]) -> Floats:
        """Return how likely each event type is for items put in front of the users.

        Args:
            histories: B histories.
            items: catalogue rows, (B, K).

        Returns:
            (B, K, A), summing to one over the event types, in the order of `actions.types`.
        """
        types = self.module.action.out.out_features
        probabilities = np.empty((*items.shape, types), np.float32)
        for rows, judged in self._judged(histories, items):
            probabilities[rows] = judged.logits.softmax(dim=-1).cpu().numpy()
        return probabilities

    @property
    def value_names(self) -> tuple[str | None, ...]:
        """What the value of each event type is called, (A,); None of a type without one."""
        head = self.module.action.values
        if head is None:
            return (None,) * self.module.action.out.out_features
        groups = head.group_A.tolist()
        return tuple(None if group < 0 else head.values[group].name for group in groups)

    def expected_values(self, histories: Histories, items: NDArray[np.int64]) -> Floats:
        """Return the value expected of each event type, should it happen, (B, K, A).

        Args:
            histories: B histories.
            items: catalogue rows, (B, K).

        Returns:
            (B, K, A) in the unit of the events' values; NaN where an event type has none.
        """
        expected = np.full((*items.shape, len(self.value_names)), np.nan, np.float32)
        head = self.module.action.values
        if head is None:
            return expected
        for rows, judged in self._judged(histories, items):
            if judged.values is not None:
                with torch.inference_mode():
                    expected[rows] = head.by_event(head.expected(judged.values)).cpu().numpy()
        return expected

    def _judged(
        self, histories: Histories, items: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Judged]]:
        """Yield rows of the histories and what is foretold of their items."""
        for rows, padded, contexts in self._batches(histories):
            asked_CK = torch.from_numpy(np.asarray(items[rows], np.int64)).to(padded.items.device)
            with torch.inference_mode():
                judged = self.module.judged(self._items_ID, padded, contexts, asked_CK)
            yield rows, judged

    def _batches(self, histories: Histories) -> list[tuple[NDArray[np.int64], Padded, Contexts]]:
        """Cut histories to the limit and group those of like length."""
        lengths = np.minimum(histories.lengths, self.module.config.history)
        order = np.argsort(lengths, kind="stable")
        most = max(1, _LOGITS_AT_ONCE // max(1, len(self._catalogue)))
        batches, start = [], 0
        while start < len(order):
            stop = start + 1
            while (
                stop < len(order)
                and stop - start < most
                and (lengths[order[stop]] + 1) * (stop + 1 - start) <= _STATES_AT_ONCE
            ):
                stop += 1
            rows = order[start:stop]
            made = asked(histories, rows, lengths[rows], self.module.reads)
            if self._items_ID.is_cuda:
                device = self._items_ID.device
                made = moved(made[0], device), moved(made[1], device)
            batches.append((rows, *made))
            start = stop
        return batches

    def settings(self) -> dict[str, Any]:
        """Return the shape."""
        return {
            "config": self.module.config.model_dump(mode="json"),
            "actions": self.module.action.out.out_features,
            "repeats": self.module.repeats is not None,
            "reads": self.module.reads.to_json(),
        }

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return every parameter and buffer by its name in the module."""
        state = self.module.state_dict()
        return {name: np.ascontiguousarray(tensor.cpu().numpy()) for name, tensor in state.items()}

    @classmethod
    def restore(
        cls, settings: dict[str, Any], weights: dict[str, NDArray[Any]], catalogue: Catalogue
    ) -> Self:
        """Make the scorer again from what `settings` and `weights` returned.

        Raises:
            ValueError: the ranking head has a bias per item, as it had until November 2026.
            RuntimeError: the weights are of another shape.
        """
        if "action.target.own_IO" in weights:
            raise ValueError(
                "its ranking head has a bias per item, which is not read any more: train again"
            )
        tensors = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
        for old, new in _TRANSPOSED.items():
            if old in tensors:
                tensors[new] = tensors.pop(old).T.contiguous()
        module = UnifiedTransformer(
            ModelConfig.model_validate(settings["config"]),
            int(settings["actions"]),
            tensors["tower.text_IV"],
            tensors["tower.known_I"],
            tensors["popularity.popularity_IF"],
            repeats=bool(settings["repeats"]),
            reads=Reads.from_json(settings.get("reads") or {}),
            buckets_I2=tensors.get("tower.buckets_I2"),
        )
        module.load_state_dict(tensors)
        return cls(module, catalogue)


def asked(
    histories: Histories, rows: NDArray[np.int64], lengths: NDArray[np.int64], reads: Reads
) -> tuple[Padded, Contexts]:
    """Return some histories, cut to their most recent events, each asked at its end.

    Args:
        histories: any.
        rows: of them, (C,).
        lengths: how many events of each are read, (C,).
        reads: what is read beside ids, actions and times.
    """
    start = histories.offsets[1:][rows] - lengths
    surface = people = None
    if reads.surfaces and histories.surface is not None:
        surface = tensor(histories.surface[rows])
    if reads.profiles and histories.people is not None:
        people = reads.people.of([histories.people[row] for row in rows], len(rows))
    padded = Padded.cut(histories, start, lengths, surfaces=bool(reads.surfaces), people=people)
    place, now = torch.arange(len(rows)), tensor(histories.now[rows])
    return padded, Contexts(place, tensor(lengths), now, surface)
