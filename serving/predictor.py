"""The KServe model: a verified version, a history reader, and the protocols around them."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import kserve
from kserve.errors import InvalidInput

from recommender.artifact import Model
from recommender.errors import ArtifactError
from recommender.registry.signing import verify
from serving import open_inference
from serving.ask import Ask, Events, Fallback, InvalidAskError, parse
from serving.ranking import Answer, Found, Ranker

logger = logging.getLogger("ostinato.predictor")

# More threads than cores only wait for each other.
_WORKERS = min(4, os.cpu_count() or 1)
_READERS = 16


class HistoryReader(Protocol):
    """Where histories come from."""

    @property
    def feature_service(self) -> str:
        """Name of the feature service that is read: what a served model must name."""
        ...

    def read(self, user_id: str) -> Events | None:
        """Return a user's history, oldest first; None if the user is not known.

        Raises:
            FeatureError: the store can't be read.
        """
        ...


class Predictor(kserve.Model):  # type: ignore[misc]  # kserve is untyped
    """Serves one immutable model version.

    Args:
        name: of the model in URLs.
        folder: of the version, as the registry fetched it: model files, lineage and signature.
        version: what the folder must turn out to be; None accepts any signed version.
        keys: folder of the public key to verify with.
        reader: of histories.
        deadline_s: longest wait for a history.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        version: str | None,
        keys: Path,
        reader: HistoryReader,
        deadline_s: float,
    ) -> None:
        super().__init__(name)
        self.version = version or ""
        self._folder = folder
        self._keys = keys
        self._reader = reader
        self._deadline_s = deadline_s
        self._ranker: Ranker
        self._compute = ThreadPoolExecutor(_WORKERS, "compute")
        self._reading = ThreadPoolExecutor(_READERS, "read")

    def load(self) -> bool:
        """Verify every file against its signature, load, warm up; ready only after all of it.

        Raises:
            ArtifactError: the version is tampered with, truncated or unsigned, or reads features
                that this server doesn't.
            RegistryError: there is no public key to verify with.
        """
        self.version = verify(self._folder, self._keys, self.version or None)
        model = Model.load(self._folder)
        if model.feature_service != self._reader.feature_service:
            raise ArtifactError(
                f"model {self.version} reads the feature service {model.feature_service!r}, and "
                f"this server reads {self._reader.feature_service!r}",
                "serve it with the image that it was released with",
            )
        self._ranker = Ranker(model)
        if torch := sys.modules.get("torch"):
            # Two threads of torch under load were ten times slower than one.
            torch.set_num_threads(1)
        self._ranker.warm_up()
        self.ready = True
        logger.info("model %s is ready", self.version)
        return self.ready

    def start(self) -> None:
        """Do nothing: the default would call a model ready that was never loaded."""

    async def predict(
        self, payload: Any, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | kserve.InferResponse:
        """Recommend.

        Args:
            payload: a V1 body (`{"instances": [{"user_id": …, "k": …}]}`) or a V2 request.
            headers: of the request; not read.

        Raises:
            InvalidInput: the request is wrong (HTTP 400).
        """
        del headers
        try:
            if isinstance(payload, kserve.InferRequest):
                asks = open_inference.asks(payload)
                answers = await self._answer(asks)
                return open_inference.response(payload, self.version, answers)
            asks = parse(payload)
        except InvalidAskError as error:
            raise InvalidInput(str(error)) from None
        answers = await self._answer(asks)
        told = [self._told(ask, answer) for ask, answer in zip(asks, answers, strict=True)]
        return {"predictions": told}

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the tensors of a V2 request."""
        return open_inference.INPUTS

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the tensors of a V2 response."""
        return open_inference.OUTPUTS

    async def _answer(self, asks: Sequence[Ask]) -> list[Answer]:
        found = await asyncio.gather(*(self._found(ask) for ask in asks))
        loop = asyncio.get_running_loop()
        # In a thread: computing in the event loop would stall the probes.
        return await loop.run_in_executor(self._compute, self._ranker.answer, asks, found)

    async def _found(self, ask: Ask) -> Found:
        """Find the history of whoever asks; a store that fails never fails the request."""
        if ask.events is not None:
            return Found(ask.events)
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self._reading, self._reader.read, ask.user_id or "")
        try:
            events = await asyncio.wait_for(reading, self._deadline_s)
        except TimeoutError:
            logger.warning("the feature store took longer than %s s", self._deadline_s)
            return Found(fallback=Fallback.STORE_UNAVAILABLE)
        except Exception as error:  # noqa: BLE001 whatever a store client raises
            logger.warning("the feature store can't be read: %s", error)
            return Found(fallback=Fallback.STORE_UNAVAILABLE)
        return Found(fallback=Fallback.UNKNOWN_USER) if events is None else Found(events)

    def _told(self, ask: Ask, answer: Answer) -> dict[str, Any]:
        columns = zip(answer.items, answer.titles, answer.scores, strict=True)
        told: dict[str, Any] = {
            "items": [
                {"item_id": item, "title": title, "score": score} for item, title, score in columns
            ],
            "model_version": self.version,
            "fallback": answer.fallback,
            "history": answer.history,
            "dropped": answer.dropped,
        }
        return told if ask.user_id is None else {"user_id": ask.user_id, **told}
