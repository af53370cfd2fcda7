"""The KServe model: a verified version, a history reader, and the protocols around them."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import kserve
from kserve.errors import InvalidInput

from recommender.artifact import Model
from recommender.config.compute import ComputeConfig
from recommender.errors import ArtifactError
from recommender.export.engines import engine_for
from recommender.feature_services import READS_ALSO
from recommender.registry.content import LINEAGE
from recommender.registry.lineage import Lineage
from recommender.registry.signing import verify
from recommender.scoring import Scorer
from serving import explaining, open_inference, told
from serving.ask import Ask, InvalidAskError, parse
from serving.compute import Batch
from serving.compute.worker import Worker
from serving.finding import Finder, Reader
from serving.index.choosing import ranking_for
from serving.items import Items
from serving.observer import Arrived, Observer
from serving.observing import Watch
from serving.ranking import Answer, Found, Ranker
from serving.refresh import Refresher
from serving.shelf import Shelf

logger = logging.getLogger("ostinato.predictor")

_Known = tuple[Found, Arrived]


class Predictor(kserve.Model):  # type: ignore[misc]  # kserve is untyped
    """Serves one immutable model version.

    Args:
        name: of the model in URLs.
        folder: of the version, as the registry fetched it: model files, lineage and signature.
        version: what the folder must turn out to be; None accepts any signed version.
        keys: folder of the public key to verify with.
        reader: of histories and profiles.
        deadline_s: longest wait for what the feature store knows of whoever asks.
        watch: sees to what is around answers: exploration, request ids, logs, metrics.
        items: of the feature store; without them the catalogue stays as it was signed, and no
            category is known.
        refresh_s: between two looks for new items.
        compute: how answers are computed.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        version: str | None,
        keys: Path,
        reader: Reader,
        deadline_s: float,
        *,
        watch: Watch | None = None,
        items: Items | None = None,
        refresh_s: float = 60.0,
        compute: ComputeConfig | None = None,
    ) -> None:
        super().__init__(name)
        self.version = version or ""
        self._folder = folder
        self._keys = keys
        self._reader = reader
        self._finder = Finder(reader, deadline_s)
        self._watch = watch or Watch.silent()
        self._observer: Observer
        self._items = items
        self._refresh_s = refresh_s
        self._refresher: Refresher | None = None
        self._engine: Scorer
        self._ranker: Ranker
        self._compute = limits = compute or ComputeConfig()
        self._worker: Worker[Ask, Found, Answer] = Worker(
            self._computed, batch=limits.batch, queue=limits.queue, observe=self._note
        )
        # A thread of their own: they wait for each other rather than keep recommendations waiting.
        self._explainer: Worker[Ask, _Known, dict[str, Any]] = Worker(
            self._explained, batch=1, queue=limits.explanations
        )

    def load(self) -> bool:
        """Verify every file against its signature, load, warm up; ready only after all of it.

        Raises:
            ArtifactError: the version is tampered with, truncated or unsigned, or reads features
                that this server doesn't.
            RegistryError: there is no public key to verify with.
        """
        self.version = verify(self._folder, self._keys, self.version or None)
        model = Model.load(self._folder)
        mine = self._reader.feature_service
        if model.feature_service not in (mine, *READS_ALSO.get(mine, ())):
            raise ArtifactError(
                f"model {self.version} reads the feature service {model.feature_service!r}, and "
                f"this server reads {self._reader.feature_service!r}",
                "serve it with the image that it was released with",
            )
        cold = model.cold is not None and model.cold.reads_profiles
        self._finder.reads(
            profiles=cold,
            everybody=model.reads_profiles,
            surfaces=model.reads_surfaces,
            follows=model.cold is not None and model.cold.reads_follows,
        )
        self._engine = engine_for(model.scorer, self._folder, self._compute)
        ranking = ranking_for(self._engine, self._compute)
        self._ranker = Ranker(replace(model, scorer=self._engine), ranking=ranking)
        if torch := sys.modules.get("torch"):
            # Two threads of torch under load were ten times slower than one.
            torch.set_num_threads(1)
        self._ranker.warm_up()
        self._observer = self._watch.of(self.version, self.name)
        if self._items is not None:
            lineage = self._folder / LINEAGE
            encoder = Lineage.from_bytes(lineage.read_bytes(), str(lineage)).encoder
            self._refresher = Refresher(model, self._items, self._refresh_s, self._take, encoder)
            self._refresher.start()
        self.ready = True
        logger.info("model %s is ready", self.version)
        return self.ready

    @property
    def actions(self) -> tuple[str, ...]:
        """The event types that the model knows."""
        return self._ranker.model.actions.types

    def stop(self) -> None:
        """Be ready no more, and look for new items no more."""
        super().stop()
        if self._refresher is not None:
            self._refresher.stop()

    def start(self) -> None:
        """Do nothing: the default would call a model ready that was never loaded."""

    async def predict(
        self, payload: Any, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | kserve.InferResponse:
        """Recommend.

        Args:
            payload: a V1 body (`{"instances": [{"user_id": …, "k": …}]}`) or a V2 request.
            headers: of the request; the router's lane is read.

        Raises:
            InvalidInput: the request is wrong (HTTP 400).
        """
        arrived = Arrived.of(headers)
        with self._observer.metrics.request("predict"):
            return await self._predicted(payload, arrived)

    async def _predicted(
        self, payload: Any, arrived: Arrived
    ) -> dict[str, Any] | kserve.InferResponse:
        try:
            if isinstance(payload, kserve.InferRequest):
                asks = open_inference.asks(payload)
            else:
                asks = parse(payload)
        except InvalidAskError as error:
            raise InvalidInput(str(error)) from None
        try:
            # Before the feature store is read: where there is too much to do, do no more of it.
            self._worker.admit(len(asks))
            found = await self._found(asks)
            answers = await self._answer(self._observer.widened(asks, arrived), found)
            answers, ids = self._observer.finish(asks, found, answers, arrived)
        except Exception as error:
            self._observer.failed(asks, error, arrived)
            raise
        if isinstance(payload, kserve.InferRequest):
            return open_inference.response(payload, self.version, ids, answers)
        predictions = [
            told.prediction(ask, answer, request_id, self.version)
            for ask, answer, request_id in zip(asks, answers, ids, strict=True)
        ]
        return {"predictions": predictions}

    async def explain(self, payload: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Recommend, and say why: the past events behind each item, with weights that add up.

        Args:
            payload: a V1 body, as for `predict`.
            headers: of the request; the router's lane is read.

        Raises:
            InvalidInput: the request is wrong, or asks for too much (HTTP 400).
        """
        arrived = Arrived.of(headers)
        with self._observer.metrics.request("explain"):
            return await self._explanations(payload, arrived)

    async def _explanations(self, payload: Any, arrived: Arrived) -> dict[str, Any]:
        try:
            asks = parse(payload)
            explaining.check(asks)
        except InvalidAskError as error:
            raise InvalidInput(str(error)) from None
        self._explainer.admit(len(asks))
        found = await self._found(asks)
        known = [(each, arrived) for each in found]
        return {"explanations": await self._explainer.answer(asks, known)}

    def _explained(self, asks: Sequence[Ask], found: Sequence[_Known]) -> list[dict[str, Any]]:
        ranker = self._ranker  # one and the same, also if another takes its place meanwhile
        explained = []
        for ask, (known, arrived) in zip(asks, found, strict=True):
            (answer,) = ranker.answer([ask], [known])
            request_id = self._observer.named(ask, answer, arrived)
            prediction = told.prediction(ask, answer, request_id, self.version)
            why = explaining.reasons(ranker, ask, known, answer)
            prediction["items"] = [a | b for a, b in zip(prediction["items"], why, strict=True)]
            explained.append(prediction)
        return explained

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the tensors of a V2 request."""
        return open_inference.INPUTS

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the tensors of a V2 response."""
        return open_inference.outputs(self._ranker.tasks, self._ranker.valued)

    def _take(self, model: Model, shelf: Shelf) -> None:
        """Serve a model with more items from now on; requests under way end with the old one."""
        engine = self._engine
        if model.scorer.catalogue != engine.catalogue:
            # What was exported with the model knows the model's own items only.
            eager = self._compute.model_copy(update={"engine": "eager"})
            engine = engine_for(model.scorer, self._folder, eager)
        ranking = ranking_for(engine, self._compute)
        ranker = Ranker(replace(model, scorer=engine), shelf, ranking)
        ranker.warm_up()
        self._ranker = ranker

    async def _found(self, asks: Sequence[Ask]) -> list[Found]:
        return list(await asyncio.gather(*(self._finder.found(ask) for ask in asks)))

    async def _answer(self, asks: Sequence[Ask], found: Sequence[Found]) -> list[Answer]:
        # Not here: computing in the event loop would stall the probes.
        return await self._worker.answer(asks, found)

    def _computed(self, asks: Sequence[Ask], found: Sequence[Found]) -> list[Answer]:
        return self._ranker.answer(asks, found)

    def _note(self, batch: Batch) -> None:
        self._observer.metrics.computed(batch.asks, batch.waited_s, batch.took_s)
