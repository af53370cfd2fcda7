"""The Transformer for serving, by ONNX Runtime, from the files that lie beside the weights.

Shape letters: B histories, T events in the longest of them, D width, I items, K items of one
question, A event types.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recommender.errors import ArtifactError
from recommender.export.bounded import Bounded
from recommender.export.onnx_files import file_of
from recommender.export.programs import ANSWERS, HISTORY_INPUTS, LEAST_EVENTS
from recommender.features.sequences import Histories
from recommender.model.padded import Padded
from recommender.model.scorer import TransformerScorer
from recommender.scoring import Floats

Reads = tuple[Floats, ...]
"""What was read of a history: its last state and, with a head that looks at it, its answers."""

_OVERHEAD = 512
"""Bytes of an entry besides its numbers: arrays, tuple and table, about."""


class OnnxScorer(TransformerScorer):
    """Gives the scores of a `TransformerScorer` (within 1e-5) by ONNX Runtime, in one thread.

    The users' states of the last answers are kept, so that the chances of each event type don't
    read a history again.

    Args:
        scorer: the same model in PyTorch: what isn't served often (explanations) is asked of it.
        folder: of the model; holds the ONNX files.
        megabytes: memory for the states; as of `serving.compute.states_mb`.

    Raises:
        ArtifactError: a file is missing or can't be loaded.
    """

    def __init__(self, scorer: TransformerScorer, folder: Path, megabytes: float = 64.0) -> None:
        super().__init__(scorer.module, scorer.catalogue)
        self._retrieve = _session(folder / file_of("retrieve"))
        self._actions = _session(folder / file_of("actions"))
        self._reads = ["state", *([ANSWERS] if scorer.module.action.target is not None else [])]
        self.kept = kept_reads(megabytes)

    def scores(self, histories: Histories) -> Floats:
        """Return the logit of every item, (B, I)."""
        scores_BI = np.empty((len(histories), len(self.catalogue)), np.float32)
        for rows, padded, contexts in self._batches(histories):
            lengths, now = contexts.position.numpy(), contexts.now.numpy()
            feeds = _feeds(padded, lengths, now)
            scores_BI[rows], *read = self._retrieve.run(
                ["scores", *self._reads], feeds, _only_what_is_asked()
            )
            self._keep(_names(feeds), feeds["lengths"], read)
        return scores_BI

    def action_probabilities(self, histories: Histories, items: NDArray[np.int64]) -> Floats:
        """Return how likely each event type is for items put in front of the users, (B, K, A)."""
        logits_BKA = self._told("action_logits", histories, items)
        weights_BKA = np.exp(logits_BKA - logits_BKA.max(axis=-1, keepdims=True))
        return np.asarray(weights_BKA / weights_BKA.sum(axis=-1, keepdims=True), np.float32)

    def expected_values(self, histories: Histories, items: NDArray[np.int64]) -> Floats:
        """Return the value expected of each event type, should it happen, (B, K, A)."""
        if self.module.action.values is None:
            return super().expected_values(histories, items)
        return self._told("values", histories, items)

    def _told(self, output: str, histories: Histories, items: NDArray[np.int64]) -> Floats:
        """Return what is foretold of items put in front of the users, (B, K, A)."""
        told = np.empty((*items.shape, self.module.action.out.out_features), np.float32)
        if not items.shape[1]:
            return told
        for rows, padded, contexts in self._batches(histories):
            feeds = _feeds(padded, contexts.position.numpy(), contexts.now.numpy())
            state_BD, *answers = self._read_of(feeds)
            asked = {"state": state_BD, "candidates": np.ascontiguousarray(items[rows], np.int64)}
            if answers:
                asked |= {**feeds, ANSWERS: answers[0]}
            (told[rows],) = self._actions.run([output], asked, _only_what_is_asked())
        return told

    def _read_of(self, feeds: dict[str, NDArray[np.int64]]) -> list[Floats]:
        """Return what was read of histories, anew only where it is not kept.

        Returns:
            the users' states (B, D) and, where candidates look at the history, its answers
            (B, S, 2 D).
        """
        names = _names(feeds)
        kept = [self.kept.find(name) for name in names]
        found = [each for each in kept if each is not None]
        if len(found) == len(kept):
            states = feeds["times"].shape[1] + 1
            parts = zip(*found, strict=True)
            return [np.stack([_padded_to(states, part) for part in each]) for each in parts]
        read = self._retrieve.run(self._reads, feeds, _only_what_is_asked())
        self._keep(names, feeds["lengths"], read)
        return [np.asarray(part, np.float32) for part in read]

    def _keep(self, names: list[bytes], lengths: NDArray[np.int64], read: list[Floats]) -> None:
        for row, name in enumerate(names):
            own = [part[row] for part in read]
            # Copied: a view would keep the whole batch in memory.
            self.kept.keep(
                name,
                tuple((part[: lengths[row] + 1] if part.ndim > 1 else part).copy() for part in own),
            )


def kept_reads(megabytes: float) -> Bounded[Reads]:
    """Return a memory of what was read of the histories asked about last, by their content."""
    return Bounded(megabytes, lambda read: sum(part.nbytes for part in read) + _OVERHEAD)


def _padded_to(states: int, part: Floats) -> Floats:
    """Return answers padded behind their end; a state as it is."""
    return part if part.ndim == 1 else np.pad(part, ((0, states - len(part)), (0, 0)))


def _feeds(
    padded: Padded, lengths: NDArray[np.int64], now: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Return what the graphs are given; they read at least a few events, all of them padding."""
    missing = ((0, 0), (0, max(0, LEAST_EVENTS - padded.events)))
    parts = (padded.items, padded.actions, padded.times)
    whole = [np.pad(part.numpy(), missing) for part in parts]
    return dict(zip(HISTORY_INPUTS, (*whole, lengths, now), strict=True))


def _names(feeds: dict[str, NDArray[np.int64]]) -> list[bytes]:
    """Return one name per history and moment, by content."""
    items, actions, times = (feeds[name] for name in HISTORY_INPUTS[:3])
    made = []
    for row, (length, now) in enumerate(zip(feeds["lengths"], feeds["now"], strict=True)):
        digest = hashlib.blake2b(int(now).to_bytes(8, "little", signed=True), digest_size=16)
        for part in (items, actions, times):
            digest.update(part[row, :length].tobytes())
        made.append(digest.digest())
    return made


def _session(path: Path) -> Any:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    # More threads than cores only wait for each other; the caller has threads of its own.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has an error class per cause, without a common one
        raise ArtifactError(f"{path} can't be served: {str(error)[:300]}") from error


def _only_what_is_asked() -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    # Else what puts the best items in order is run even if nobody wants its output.
    options.only_execute_path_to_fetches = True
    return options
