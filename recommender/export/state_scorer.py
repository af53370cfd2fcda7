"""The Transformer for serving, in PyTorch: each history is read once, and only its end.

Shape letters: B histories, T events in the longest of them, S states, D width, H heads, I items,
K items of one question (or, last, the width of a head), E width of what is compared, D + 1 or more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recommender.export.programs import vectors_of
from recommender.export.reading import Reading
from recommender.export.states import Events, Kept, States
from recommender.features.sequences import Catalogue, Histories
from recommender.model.blocks import KeysValues
from recommender.model.padded import Padded
from recommender.model.ranking import Judged
from recommender.model.scorer import TransformerScorer
from recommender.model.transformer import UnifiedTransformer
from recommender.scoring import Floats

STATES_MB = 64.0


@dataclass(frozen=True)
class Retrieval:
    """Histories as queries for an index of the catalogue.

    Attributes:
        query_BE: to be multiplied with `StateScorer.item_vectors`, (B, E).
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
                lengths, now = contexts.position, contexts.now
                query_BD = self._query(self._kept(padded, lengths), padded, lengths, now)
                if not padded.events:
                    query_BE = self._reading.compared(query_BD, padded.items, lengths)
                    logits = torch.addmm(self._known.base_I, query_BE, self._known.compared_IE.T)
                else:
                    logits = self._reading.scores(
                        self._known, query_BD, padded.items, padded.times, lengths, now
                    )
                scores_BI[rows] = logits.numpy()
        return scores_BI

    def item_vectors(self) -> Floats:
        """Return vectors whose inner product with a `retrieval` query is the score, (I, E).

        What an item has by itself is the last component, where every query has a one.
        """
        known = self._known
        return torch.cat([known.compared_IE, known.base_I[:, None]], dim=1).numpy()

    def retrieval(self, histories: Histories) -> Retrieval:
        """Return what it takes to score any item without scoring all of them."""
        width = self._known.compared_IE.shape[1]
        query_BE = np.ones((len(histories), width + 1), np.float32)
        added = np.zeros(len(histories.items), np.float32)
        with torch.inference_mode():
            for rows, padded, contexts in self._batches(histories):
                lengths, now = contexts.position, contexts.now
                query_BD = self._query(self._kept(padded, lengths), padded, lengths, now)
                query_BE[rows, :width] = self._reading.compared(
                    query_BD, padded.items, lengths
                ).numpy()
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

    def _judged(
        self, histories: Histories, items: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Judged]]:
        """Yield rows of the histories and what is foretold of their items."""
        for rows, padded, contexts in self._batches(histories):
            chosen_BK = torch.from_numpy(np.ascontiguousarray(items[rows], np.int64))
            lengths, now = contexts.position, contexts.now
            with torch.inference_mode():
                kept = self._kept(padded, lengths)
                query_BD = self._query(kept, padded, lengths, now)
                judged = self._reading.judged(
                    self._known, query_BD, chosen_BK, padded, lengths, now, _together(kept)
                )
            yield rows, judged

    def _query(
        self, kept: Sequence[Kept], padded: Padded, length_B: Tensor, now_B: Tensor
    ) -> Tensor:
        """Return the users' states at the moments of asking, (B, D)."""
        state_BD = torch.stack([each.state_D for each in kept])
        times_BT = padded.times if padded.events else now_B[:, None]
        return self._reading.query(state_BD, times_BT, length_B, now_B)

    def _kept(self, padded: Padded, length_B: Tensor) -> list[Kept]:
        """Return what is kept of each history, read where it was not, B of them."""
        events = _unpadded(padded, length_B)
        found: list[Kept | None] = []
        for each in events:
            kept = self.states.find(each)
            grown = kept is not None and len(kept.events) < len(each)
            found.append(self._extended(each, kept) if kept is not None and grown else kept)
        anew = [row for row, kept in enumerate(found) if kept is None]
        read = iter(self._read(padded, length_B, anew, events) if anew else ())
        return [next(read) if kept is None else kept for kept in found]

    def _read(
        self, padded: Padded, length_B: Tensor, rows: list[int], events: Sequence[Events]
    ) -> list[Kept]:
        """Read whole histories, and keep them."""
        chosen = torch.tensor(rows)
        lengths = length_B[chosen]
        longest = int(lengths.max())
        items, actions, times = (
            part[chosen][:, :longest] for part in (padded.items, padded.actions, padded.times)
        )
        x_BSD = self._reading.inputs(vectors_of(self._known, items), actions, times)
        state_BD, past = self._reading.read(x_BSD, self._reading.bias(times), lengths)
        read = []
        for place, row in enumerate(rows):
            length = len(events[row])
            # Cloned: a view would keep the whole batch in memory.
            wanted = past if self.states.keys_values else past[self.module.config.layers :]
            own = tuple(
                (
                    keys[place : place + 1, :, : length + 1].clone(),
                    values[place : place + 1, :, : length + 1].clone(),
                )
                for keys, values in wanted
            )
            read.append(self._keep(events[row], state_BD[place].clone(), own))
        return read

    def _extended(self, events: Events, kept: Kept) -> Kept:
        """Read the events that were added since, and keep the whole."""
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
        before = (*(kept.past or ()), *([kept.answers] if kept.answers else ()))
        state_BD, past = self._reading.read(x_BQD, bias_BHQS, last_B, before)
        return self._keep(events, state_BD[0], tuple(past), kept)

    def _keep(
        self,
        events: Events,
        state_D: Tensor,
        read: tuple[KeysValues, ...],
        grown: Kept | None = None,
    ) -> Kept:
        answers = read[-1] if self._reading.target is not None else None
        blocks = read[: self.module.config.layers] if self.states.keys_values else None
        kept = Kept(events, state_D, blocks, answers)
        self.states.keep(kept, grown)
        return kept


def _together(kept: Sequence[Kept]) -> KeysValues | None:
    """Return what the states of all histories answer candidates, padded behind, (B, H, S, K)."""
    answers = [each.answers for each in kept if each.answers is not None]
    if not answers:
        return None
    longest = max(keys.shape[2] for keys, _ in answers)

    def padded(part: Tensor) -> Tensor:
        return nn.functional.pad(part, (0, 0, 0, longest - part.shape[2]))

    keys, values = ([padded(pair[side]) for pair in answers] for side in (0, 1))
    return torch.cat(keys), torch.cat(values)


def _unpadded(padded: Padded, length_B: Tensor) -> list[Events]:
    items, actions, times = (part.numpy() for part in (padded.items, padded.actions, padded.times))
    return [
        Events(items[row, :length].copy(), actions[row, :length].copy(), times[row, :length].copy())
        for row, length in enumerate(length_B.tolist())
    ]
