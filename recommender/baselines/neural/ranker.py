"""A trained ranker of (history, item) pairs behind `ActionModel`, and how it is trained.

A ranker is a `Scorer`, too: it scores the catalogue by how likely a success is for each item once
it is put in front of somebody. What was never put in front of people it knows nothing about.

Shape letters: B histories, I items, K items of one question, T events, A event types.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recommender.artifact import Model
from recommender.baselines.neural.case_inputs import CaseInputs, Clock, Inputs
from recommender.baselines.neural.items import ItemFacts
from recommender.baselines.neural.past_popularity import PastPopularity
from recommender.baselines.neural.ranking_cases import Asked, Judged, RankingCases, item_loss
from recommender.baselines.neural.training import Task, train
from recommender.config import Config
from recommender.config.neural_rivals import SOURCES, NeuralRivalsConfig
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, Histories
from recommender.scoring import Floats
from recommender.split import Fold

_NUMBERS = 2**25
"""Numbers that are held while pairs of history and item are judged together: 128 MB."""


class RankingModule(nn.Module):
    """A network that tells how far people go with items; what its kinds share.

    Args:
        config: the shape.
        facts: of the items.
        actions: number of event types, A.
        clock: which times are read; by default all.
    """

    latest_IF: Tensor

    def __init__(
        self,
        config: NeuralRivalsConfig,
        facts: ItemFacts,
        actions: int,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self.clock = clock or Clock()
        self.inputs = CaseInputs(facts, actions, config.width, self.clock)
        self.register_buffer("latest_IF", facts.latest_IF)
        self.own_IA = nn.Parameter(torch.zeros(len(facts.known_I), actions))

    def forward(self, asked: Asked, items_ID: Tensor | None = None) -> Tensor:
        """Return the logits of the farthest event type (code - 1), (B, K, A).

        Args:
            asked: the requests.
            items_ID: the item vectors, where they are at hand.
        """
        inputs = self.inputs(asked, self.inputs.items() if items_ID is None else items_ID)
        logits_BKA: Tensor = self.judged(inputs) + self.own_IA[asked.items]
        return logits_BKA

    def judged(self, inputs: Inputs) -> Tensor:
        """Return the logits of a batch of inputs, (B, K, A)."""
        raise NotImplementedError

    def held(self, events: int) -> int:
        """Return about how many numbers one pair needs, with so many events in the history."""
        raise NotImplementedError

    def loss(self, batch: Judged) -> Tensor:
        """Return the mean cross-entropy, nats."""
        logits: Tensor = self(batch.asked)
        return item_loss(logits[:, 0], batch.reached)


class Ranker:
    """Tells how far people go with items, by a trained network.

    Args:
        module: trained; it is put into evaluation mode.
        catalogue: the items, in the order of the module's rows.
        config: the shape of the module.
        successes: codes of the event types that are a success.
        actions: number of event types, A.
        history: most recent events that are read.
    """

    kind: ClassVar[str]
    network: ClassVar[type[RankingModule]]

    def __init__(
        self,
        module: RankingModule,
        catalogue: Catalogue,
        config: NeuralRivalsConfig,
        successes: tuple[int, ...],
        actions: int,
        history: int,
    ) -> None:
        self.module = module.eval()
        self._catalogue = catalogue
        self._config = config
        self._successes = successes
        self._actions = actions
        self._history = history

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        return self._catalogue

    @property
    def parameters(self) -> int:
        """How many numbers were trained."""
        return sum(each.numel() for each in self.module.parameters() if each.requires_grad)

    def action_probabilities(self, histories: Histories, items: NDArray[np.int64]) -> Floats:
        """Return how likely each event type is the farthest, (B, K, A).

        Args:
            histories: B histories.
            items: catalogue rows, (B, K).
        """
        chances_BKA = np.empty((*items.shape, self._actions), np.float32)
        with torch.inference_mode():
            items_ID = self.module.inputs.items()
            for rows, columns in self._blocks(histories, items.shape[1]):
                some = histories.slice(rows.start, rows.stop).recent(self._history)
                logits = self.module(self._asked(some, items[rows, columns]), items_ID)
                chances_BKA[rows, columns] = logits.softmax(dim=-1).numpy()
        return chances_BKA

    def scores(self, histories: Histories) -> Floats:
        """Return the log-odds of a success with every item, (B, I)."""
        places = [code - 1 for code in self._successes]
        scores_BI = np.empty((len(histories), len(self._catalogue)), np.float32)
        every_I = np.arange(len(self._catalogue))
        with torch.inference_mode():
            items_ID = self.module.inputs.items()
            for rows, columns in self._blocks(histories, len(self._catalogue)):
                some = histories.slice(rows.start, rows.stop).recent(self._history)
                asked_BK = np.repeat(every_I[None, columns], len(some), axis=0)
                logits = self.module(self._asked(some, asked_BK), items_ID)
                others = [place for place in range(self._actions) if place not in places]
                won_BK = torch.logsumexp(logits[..., places], dim=-1)
                if others:
                    won_BK = won_BK - torch.logsumexp(logits[..., others], dim=-1)
                scores_BI[rows, columns] = won_BK.numpy()
        return scores_BI

    def _asked(self, histories: Histories, items: NDArray[np.int64]) -> Asked:
        return Asked.of(histories, items, self.module.latest_IF.numpy()[items])

    def _blocks(self, histories: Histories, items: int) -> Iterator[tuple[slice, slice]]:
        """Yield rectangles of (history, item) pairs that fit into bounded memory."""
        longest = min(int(histories.lengths.max(initial=0)), self._history)
        pairs = max(1, _NUMBERS // self.module.held(longest))
        width = min(items, pairs)
        height = max(1, pairs // max(width, 1))
        for first in range(0, len(histories), height):
            rows = slice(first, min(first + height, len(histories)))
            for start in range(0, items, width):
                yield rows, slice(start, min(start + width, items))

    def settings(self) -> dict[str, Any]:
        """Return the shape."""
        return {
            "config": self._config.model_dump(mode="json", exclude=set(SOURCES)),
            "successes": list(self._successes),
            "actions": self._actions,
            "history": self._history,
            "clock": asdict(self.module.clock),
        }

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return every parameter and buffer by its name in the module."""
        state = self.module.state_dict()
        return {name: np.ascontiguousarray(value.numpy()) for name, value in state.items()}

    @classmethod
    def restore(
        cls, settings: dict[str, Any], weights: dict[str, NDArray[Any]], catalogue: Catalogue
    ) -> Self:
        """Make it again from what `settings` and `weights` returned."""
        tensors = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
        facts = ItemFacts(
            tensors["inputs.items.content_IV"],
            tensors["inputs.items.known_I"] > 0,
            tensors["latest_IF"],
        )
        config = NeuralRivalsConfig.model_validate(settings["config"])
        clock = Clock(**settings.get("clock", {}))
        module = cls.network(config, facts, int(settings["actions"]), clock)
        module.load_state_dict(tensors)
        successes = tuple(int(code) for code in settings["successes"])
        return cls(
            module, catalogue, config, successes, int(settings["actions"]), int(settings["history"])
        )

    @classmethod
    def fit(cls, dataset: Dataset, fold: Fold, config: Config) -> Model:
        """Train on the cases before the fold's test window.

        The number of epochs is searched for on the cases of the validation window, by the AUC
        within users.

        Raises:
            TrainingError: nothing lies before the cut, or a loss is not finite.
        """
        settings, types = config.evaluation.neural, len(config.actions.types)
        successes = tuple(config.actions.code(name) for name in config.actions.successes)
        if len(successes) == types:
            # Where whatever happens is a success, the greatest commitment tells items apart.
            successes = (types,)

        def scorer(module: RankingModule) -> Ranker:
            return cls(module, dataset.catalogue, settings, successes, types, config.model.history)

        def make(cut: int) -> Task[RankingModule]:
            low = int(dataset.log.times.min(initial=cut))
            learned = RankingCases.between(dataset, low, cut, config)
            counts = np.bincount(learned.history.items, minlength=len(dataset.catalogue))
            past = PastPopularity.before(dataset, cut, config)
            facts = ItemFacts.of(
                dataset, counts > 0, config.model, content=True, popularity=past.latest_IF
            )
            clock = Clock(config.model.event_time, config.model.request_time)
            module = cls.network(settings, facts, types, clock)
            size = settings.cases_per_batch
            return Task(module, lambda random: learned.batches(size, past, random), module.loss)

        window = RankingCases.between(dataset, fold.validation_start, fold.test_start, config)

        def judge(module: RankingModule) -> float:
            answer = scorer(module).action_probabilities
            return window.quality(answer, config.seed)

        module = train(cls.kind, make, judge if len(window) else None, fold, config)
        return Model(scorer(module), dataset.titles, config.actions, config.model.history)
