"""Texts to vectors while people wait: many requests share one forward pass, none is made twice.

There is no timer: whatever has arrived while the encoder was busy goes into its next pass. So a
lone request waits for nobody, and the busier it gets, the larger (and the cheaper per text) the
passes become.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recommender.config.text import EncoderConfig
from recommender.errors import FeatureError, ServingError, StorageError
from recommender.features.encoder import Encoder
from recommender.features.text import cache_folder, clean
from recommender.features.vector_cache import Encoded, VectorCache, content_hash
from recommender.features.vector_index import VectorIndex

_SAVE_TEXTS, _SAVE_EVERY_S = 256, 1.0
_MOST_UNSAVED = 16_384

logger = logging.getLogger(__name__)


class EncoderBusyError(ServingError):
    """More texts wait than may; try again in a moment."""


@dataclass(frozen=True)
class TextVector:
    """A text's vector.

    Attributes:
        content_hash: SHA-256 of the text; empty for an empty text.
        vector: of length 1; zeros for an empty text, (W,).
        tokens: how many the text has.
        unknown: how many of them the encoder doesn't know.
        cached: whether it was there already.
    """

    content_hash: str
    vector: NDArray[np.float32]
    tokens: int
    unknown: int
    cached: bool


_Taken = tuple[str, str, "Future[TextVector]"]
"""Hash, text, and who waits for its vector."""


@dataclass
class Work:
    """What has been done so far.

    Attributes:
        passes: batches that went through the encoder.
        encoded: texts in them.
        cached: texts that were there already, in memory or on disk.
    """

    passes: int = 0
    encoded: int = 0
    cached: int = 0


class LiveEncoder:
    """One encoder, asked from many threads or tasks at once.

    It reads and writes the same cache as the pipeline, so what either has encoded is never encoded
    again by the other. Vectors are saved within a second; what a killed process hadn't saved is
    encoded again when it is next asked for.

    Args:
        config: the encoder; up to `batch_size` texts share a pass.
        cache: folder of what can be made again (`Workspace.cache`).
        remember: vectors held in memory; the others are read from disk.
        most_waiting: texts that may wait; beyond that, requests are refused.

    Raises:
        FeatureError: the encoder can't be fetched or loaded.
    """

    def __init__(
        self,
        config: EncoderConfig,
        cache: Path,
        *,
        remember: int = 50_000,
        most_waiting: int = 4_096,
    ) -> None:
        self._encoder = Encoder(config, cache / "encoders")
        self.name, self.width = self._encoder.name, self._encoder.width
        self.work = Work()
        self._cache = VectorCache(cache_folder(config, cache))
        self._index = VectorIndex(self._cache)
        self._batch = config.batch_size
        self._remember = remember
        self._most_waiting = most_waiting
        self._memory: OrderedDict[str, TextVector] = OrderedDict()
        self._waiting: OrderedDict[str, tuple[str, Future[TextVector]]] = OrderedDict()
        self._in_hand: dict[str, Future[TextVector]] = {}
        self._unsaved: list[Encoded] = []
        self._saved = time.monotonic()
        self._closed = False
        self._news = threading.Condition()
        self._cache.compact()
        self._worker = threading.Thread(target=self._run, name=f"encode {self.name}", daemon=True)
        self._worker.start()

    def submit(self, texts: Sequence[str]) -> list[Future[TextVector]]:
        """Ask for the vectors of texts; equal texts, also of other callers, share one.

        Args:
            texts: in any state; they are cleaned.

        Raises:
            EncoderBusyError: too many texts wait already; none of these was taken.
            ServingError: it was closed.
        """
        asked = [(content_hash(text) if text else "", text) for text in map(clean, texts)]
        with self._news:
            if self._closed:
                raise ServingError(f"the encoder {self.name} is shutting down")
            new = {key for key, _ in asked if key and self._place(key) is None}
            if len(self._waiting) + len(new) > self._most_waiting:
                raise EncoderBusyError(
                    f"{len(self._waiting):,} texts wait for the encoder {self.name}, and at most "
                    f"{self._most_waiting:,} may",
                    "try again in a moment, with fewer texts at a time",
                )
            futures = [self._future(key, text) for key, text in asked]
            self._news.notify()
        return futures

    def encode(self, texts: Sequence[str], timeout_s: float = 60.0) -> list[TextVector]:
        """Return the vectors of texts, and wait for them.

        Raises:
            EncoderBusyError: too many texts wait already.
            FeatureError: the encoder can't make a finite vector of a text.
            TimeoutError: it took longer than `timeout_s`.
        """
        end = time.monotonic() + timeout_s
        return [future.result(max(0.0, end - time.monotonic())) for future in self.submit(texts)]

    def close(self) -> None:
        """Encode what waits, save everything, and stop."""
        with self._news:
            self._closed = True
            self._news.notify()
        self._worker.join()

    def _place(self, key: str) -> TextVector | Future[TextVector] | None:
        if key in self._memory:
            return self._memory[key]
        if key in self._waiting:
            return self._waiting[key][1]
        return self._in_hand.get(key)

    def _future(self, key: str, text: str) -> Future[TextVector]:
        found = self._place(key) if key else self._nothing()
        if isinstance(found, Future):
            # A future of its own: who gives up waiting cancels nobody else's.
            mine: Future[TextVector] = Future()
            found.add_done_callback(lambda done: _hand_on(done, mine))
            return mine
        future: Future[TextVector] = Future()
        if found is None:
            self._waiting[key] = (text, future)
            mine = Future()
            future.add_done_callback(lambda done: _hand_on(done, mine))
            return mine
        if key:
            self.work.cached += 1
            self._memory.move_to_end(key)
        future.set_result(found)
        return future

    def _nothing(self) -> TextVector:
        return TextVector("", np.zeros(self.width, np.float32), 0, 0, cached=True)

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._waiting and not self._closed:
                    self._news.wait(_SAVE_EVERY_S if self._unsaved else None)
                    if self._unsaved and not self._waiting:
                        break
                taken: list[_Taken] = []
                while self._waiting and len(taken) < self._batch:
                    key, (text, future) = self._waiting.popitem(last=False)
                    taken.append((key, text, future))
                self._in_hand = {key: future for key, _, future in taken}
                done = self._closed and not taken
            if taken:
                self._answer(taken)
            self._save(now=done)
            if done:
                return

    def _answer(self, taken: list[_Taken]) -> None:
        """Look up what is on disk, encode the rest, and hand out both."""
        texts = {key: text for key, text, _ in taken}
        try:
            known = self._index.find(texts.keys())
            made = {key: each for part in known for key, each in _rows(part, cached=True).items()}
            missing = [key for key in texts if key not in made]
            if missing:
                part = self._encoder.encode(tuple(missing), [texts[key] for key in missing])
                self._unsaved.append(part)
                self.work.passes += 1
                self.work.encoded += len(missing)
                made |= _rows(part, cached=False)
        # Whoever asked must hear of it, whatever it was; the thread goes on for the others.
        except Exception as error:  # noqa: BLE001
            self._fail(taken, error)
            return
        with self._news:
            self.work.cached += len(taken) - len(missing)
            for key, each in made.items():
                self._memory[key] = TextVector(
                    key, each.vector, each.tokens, each.unknown, cached=True
                )
                self._in_hand.pop(key, None)
            while len(self._memory) > self._remember:
                self._memory.popitem(last=False)
        for key, _, future in taken:
            future.set_result(made[key])

    def _fail(self, taken: list[_Taken], error: Exception) -> None:
        """Tell who asked; of several texts each is tried alone, so that one harms no other."""
        if len(taken) > 1 and isinstance(error, FeatureError):
            for each in taken:
                self._answer([each])
            return
        with self._news:
            for key, _, _ in taken:
                self._in_hand.pop(key, None)
        for _, _, future in taken:
            future.set_exception(error)

    def _save(self, *, now: bool) -> None:
        texts = sum(len(part.hashes) for part in self._unsaved)
        old = time.monotonic() - self._saved > _SAVE_EVERY_S
        if not texts or not (now or old or texts >= _SAVE_TEXTS):
            return
        self._saved = time.monotonic()
        try:
            self._cache.add(Encoded.joined(self._unsaved, self.width))
            self._cache.compact()
            self._unsaved = []
        except StorageError as error:
            # They were handed out all the same; only a later run has to encode them again.
            logger.warning("%d text vectors could not be kept: %s", texts, error)
            if texts > _MOST_UNSAVED:
                self._unsaved = []


def _rows(part: Encoded, *, cached: bool) -> dict[str, TextVector]:
    columns = zip(
        part.hashes, part.vectors, part.tokens.tolist(), part.unknown.tolist(), strict=True
    )
    # A copy: a view would keep the vectors of the whole batch alive.
    return {
        key: TextVector(key, vector.copy(), tokens, unknown, cached)
        for key, vector, tokens, unknown in columns
    }


def _hand_on(done: Future[TextVector], to: Future[TextVector]) -> None:
    if not to.set_running_or_notify_cancel():
        return
    if error := done.exception():
        to.set_exception(error)
    else:
        to.set_result(done.result())
