"""The Transformer for serving, in PyTorch: each history is read once, and only its end.

Shape letters: B histories, T events in the longest of them, D width, I items, K items of one
question, A event types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recommender.export.programs import acted, vectors_of
from recommender.export.reading import Reading
from recommender.export.states import Events, Kept, States
from recommender.features.sequences import Catalogue, Histories
from recommender.model.padded import Padded
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.scoring import Floats

STATES_MB = 64.0


@dataclass(frozen=True)
class Retrieval:
    """Histories as queries for an index of the catalogue.

    Attributes:
        query_BE: to be multiplied with `StateScorer.item_vectors`, (B, D + 1).
        added: what each event of the histories adds to the score of its item, (T,).
    """

    query_BE: Floats
    added: Floats


class StateScorer(TransformerScorer):
    """Gives the scores of a `TransformerScorer` (within 1e-5) with less work.

    Args:
        module: trained.
        catalogue: the items, in the order of the module's rows.
        megabytes: memory for what was worked out before.
        keys_values: whether a history that has grown is read from kept keys and values.
    """

    def __init__(
        self,
        module: UnifiedTransformer,
        catalogue: Catalogue,
        *,
        megabytes: float = STATES_MB,
        keys_values: bool = False,
    ) -> None:
        super().__init__(module, catalogue)
        self.states = States(megabytes, keys_values=keys_values)
        self._reading = Reading(module).eval()
        with torch.inference_mode():
            self._known = self._reading.constants()

    def scores(self, histories: Histories) -> Floats:
        """Return the logit of every item, (B, I)."""
        scores_BI = np.empty((len(histories), len(self.catalogue)), np.float32)
        with torch.inference_mode():
            for rows, padded, contexts in self._batches(histories):
                query_BD = self._queries(padded, contexts.position, contexts.now)
                lengths, now = contexts.position, contexts.now
                if not padded.events:
                    logits = torch.addmm(
                        self._known.base_I, self.module.scaled(query_BD), self._known.items_ID.T
                    )
                else:
                    logits = self._reading.scores(
                        self._known, query_BD, padded.items, padded.times, lengths, now
                    )
                scores_BI[rows] = logits.numpy()
        return scores_BI

    def action_probabilities(self, histories: Histories, items: NDArray[np.int64]) -> Floats:
        """Return how likely each event type is for items put in front of the users, (B, K, A)."""
        types = self.module.action.out.out_features
        probabilities = np.empty((*items.shape, types), np.float32)
        with torch.inference_mode():
            for rows, padded, contexts in self._batches(histories):
                query_BD = self._queries(padded, contexts.position, contexts.now)
                chosen = torch.from_numpy(np.ascontiguousarray(items[rows], np.int64))
                logits = acted(self._reading, query_BD, vectors_of(self._known, chosen))
                probabilities[rows] = logits.softmax(dim=-1).numpy()
        return probabilities

    def item_vectors(self) -> Floats:
        """Return vectors whose inner product with a `retrieval` query is the score, (I, D + 1).

        What an item has by itself is the last component, where every query has a one.
        """
        known = self._known
        return torch.cat([known.items_ID, known.base_I[:, None]], dim=1).numpy()

    def retrieval(self, histories: Histories) -> Retrieval:
        """Return what it takes to score any item without scoring all of them."""
        width = self.module.config.width
        query_BE = np.ones((len(histories), width + 1), np.float32)
        added = np.zeros(len(histories.items), np.float32)
        with torch.inference_mode():
            for rows, padded, contexts in self._batches(histories):
                lengths, now = contexts.position, contexts.now
                query_BD = self._queries(padded, lengths, now)
                query_BE[rows, :width] = self.module.scaled(query_BD).numpy()
                if not padded.events:
                    continue
                added_BT = self._reading.repeated(
                    self._known, query_BD, padded.items, padded.times, lengths, now
                ).numpy()
                for place, row in enumerate(rows):
                    length = int(lengths[place])
                    stop = histories.offsets[row + 1]
                    added[stop - length : stop] = added_BT[place, :length]
        return Retrieval(query_BE, added)

    def _queries(self, padded: Padded, length_B: Tensor, now_B: Tensor) -> Tensor:
        """Return the users' states at the moments of asking, (B, D)."""
        events = _unpadded(padded, length_B)
        found = [self.states.find(each) for each in events]
        states: dict[int, Tensor] = {}
        anew = []
        for row, (each, kept) in enumerate(zip(events, found, strict=True)):
            if kept is None:
                anew.append(row)
            elif len(kept.events) == len(each):
                states[row] = kept.state_D
            else:
                states[row] = self._extended(each, kept)
        if anew:
            states |= self._read(padded, length_B, anew, events)
        state_BD = torch.stack([states[row] for row in range(len(events))])
        times_BT = padded.times if padded.events else now_B[:, None]
        return self._reading.query(state_BD, times_BT, length_B, now_B)

    def _read(
        self, padded: Padded, length_B: Tensor, rows: list[int], events: Sequence[Events]
    ) -> dict[int, Tensor]:
        """Read whole histories; return their last states by row."""
        chosen = torch.tensor(rows)
        lengths = length_B[chosen]
        longest = int(lengths.max())
        items, actions, times = (
            part[chosen][:, :longest] for part in (padded.items, padded.actions, padded.times)
        )
        x_BSD = self._reading.inputs(vectors_of(self._known, items), actions, times)
        state_BD, past = self._reading.read(x_BSD, self._reading.bias(times), lengths)
        found = {}
        for place, row in enumerate(rows):
            length = len(events[row])
            # Cloned: a view would keep the whole batch in memory.
            own = (
                tuple(
                    (
                        keys[place : place + 1, :, : length + 1].clone(),
                        values[place : place + 1, :, : length + 1].clone(),
                    )
                    for keys, values in past
                )
                if self.states.keys_values
                else None
            )
            found[row] = state_BD[place].clone()
            self.states.keep(Kept(events[row], found[row], own))
        return found

    def _extended(self, events: Events, kept: Kept) -> Tensor:
        """Read the events that were added since; return the last state, (D,)."""
        known, first = len(kept.events), len(kept.events) + 1
        times_BT = torch.from_numpy(events.times)[None]
        # One earlier event comes along: the gap to it is part of the next one's input.
        since = max(known - 1, 0)
        items = torch.from_numpy(events.items[since:])[None]
        x_BSD = self._reading.inputs(
            vectors_of(self._known, items),
            torch.from_numpy(events.actions[since:])[None],
            times_BT[:, since:],
        )
        x_BQD = x_BSD[:, 1 + known - since :]
        last_B = torch.tensor([x_BQD.shape[1] - 1])
        bias_BHQS = self._reading.bias(times_BT, first)
        state_BD, past = self._reading.read(x_BQD, bias_BHQS, last_B, kept.past)
        self.states.keep(Kept(events, state_BD[0], tuple(past)))
        return state_BD[0]


def _unpadded(padded: Padded, length_B: Tensor) -> list[Events]:
    items, actions, times = (part.numpy() for part in (padded.items, padded.actions, padded.times))
    return [
        Events(items[row, :length].copy(), actions[row, :length].copy(), times[row, :length].copy())
        for row, length in enumerate(length_B.tolist())
    ]
