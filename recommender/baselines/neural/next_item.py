"""A trained network that finds the next item, behind `Scorer`, and how it is trained.

Shape letters: B histories, S states, I items, D width, N targets.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recommender.artifact import Model
from recommender.baselines.neural.items import ItemFacts, ItemVectors, small_embedding
from recommender.baselines.neural.losses import Softmax
from recommender.baselines.neural.sequences import (
    SPECIAL,
    Learned,
    Moments,
    Sequences,
    Windows,
)
from recommender.baselines.neural.training import Task, train
from recommender.baselines.neural.validation import validation_of
from recommender.config import Config
from recommender.config.neural_rivals import SOURCES, NeuralRivalsConfig
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, Histories
from recommender.model.padded import tensor
from recommender.scoring import Floats
from recommender.split import Fold

_STATES_AT_ONCE = 16_384
_LOGITS_AT_ONCE = 2**24


class NextItemModule(nn.Module):
    """A network from sequences to queries; what its kinds share.

    A logit is the dot product of query and item vector, plus the item's bias.

    Args:
        config: the shape.
        facts: of the items.
        actions: number of event types.
        history: most events of a sequence.
    """

    content: ClassVar[bool] = False
    """Whether it reads more of items than their ids."""

    biased: ClassVar[bool] = True
    """Whether every item has a bias."""

    personal: ClassVar[bool] = False
    """Whether it reads what is known of people besides events."""

    def __init__(
        self, config: NeuralRivalsConfig, facts: ItemFacts, actions: int, history: int
    ) -> None:
        super().__init__()
        self.config, self.actions, self.history = config, actions, history
        # The attributes of people that it was trained on: of others nothing was learned.
        self.attributes: tuple[str, ...] = ()
        self.clock = True
        self.items = ItemVectors(facts, config.width)
        self.special = small_embedding(SPECIAL, config.width)
        self.bias_I = nn.Parameter(torch.zeros(len(facts.known_I)), requires_grad=self.biased)
        self.softmax = Softmax.over(facts.known_I, config)

    @property
    def reads(self) -> int:
        """The most events of a history that an answer is made from."""
        return self.history

    def without_clock(self) -> None:
        """Read no clock times; those that read people read the moment of asking, too."""
        self.clock = False

    def reads_of(self, dataset: Dataset) -> None:
        """Take what else is read of a data set, before training; by default of people alone."""
        if self.personal and dataset.attributes is not None:
            names = (name for name in dataset.attributes.column_names if name != "user")
            self.attributes = tuple(sorted(names))

    def table(self) -> Tensor:
        """Return the vectors of the items, (I, D)."""
        items_ID: Tensor = self.items()
        return items_ID

    def states(self, sequences: Sequences, items_ID: Tensor) -> Tensor:
        """Return what is known after the start and after each event, (B, S, D)."""
        raise NotImplementedError

    def queries(self, states_ND: Tensor, moments: Moments) -> Tensor:
        """Return the queries of states, (N, D)."""
        del moments
        return states_ND

    def answers(self, sequences: Sequences, items_ID: Tensor, now_B: Tensor) -> Tensor:
        """Return the query at the end of each sequence, (B, D)."""
        width = sequences.tokens.shape[1]
        end_B = torch.arange(len(sequences)) * width + sequences.lengths
        states_BD = self.states(sequences, items_ID).flatten(0, 1)[end_B]
        return self.queries(states_BD, Moments.of(sequences, end_B, now_B))

    def logits(self, queries_BD: Tensor, items_ID: Tensor) -> Tensor:
        """Return the logits of the catalogue, (B, I)."""
        return torch.addmm(self.bias_I, queries_BD, items_ID.T)

    def loss(self, batch: Learned) -> Tensor:
        """Return the cross-entropy of the next item, nats."""
        items_ID = self.table()
        queries_ND = self.asked(batch, items_ID)
        return self.softmax(queries_ND, batch.target, batch.weight, items_ID, self.bias_I)

    def asked(self, batch: Learned, items_ID: Tensor) -> Tensor:
        """Return the query of each target, (N, D)."""
        states_ND = self.states(batch.sequences, items_ID).flatten(0, 1)[batch.state]
        return self.queries(states_ND, Moments.of(batch.sequences, batch.state, batch.now))

    def embedded(self, sequences: Sequences, items_ID: Tensor) -> Tensor:
        """Look up the tokens, (B, S, D)."""
        rows_ID = torch.cat([items_ID, self.special.weight])
        return nn.functional.embedding(sequences.tokens, rows_ID)


class NextItem:
    """Scores the catalogue by a trained network.

    Args:
        module: trained; it is put into evaluation mode.
        catalogue: the items, in the order of the module's rows.
    """

    kind: ClassVar[str]
    network: ClassVar[type[NextItemModule]]

    def __init__(self, module: NextItemModule, catalogue: Catalogue) -> None:
        self.module = module.eval()
        self._catalogue = catalogue
        with torch.inference_mode():
            self._items_ID = module.table()
        self._known_I = module.items.known_I.numpy() > 0

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        return self._catalogue

    @property
    def reads_profiles(self) -> bool:
        """Whether it matters who asks (`Histories.people`)."""
        return bool(self.module.attributes)

    @property
    def reads_surfaces(self) -> bool:
        """Whether it matters where events happened; it never does."""
        return False

    @property
    def parameters(self) -> int:
        """How many numbers were trained."""
        return sum(each.numel() for each in self.module.parameters() if each.requires_grad)

    def scores(self, histories: Histories) -> Floats:
        """Return the logits, (B, I).

        Where ids alone are read, items unknown in training come last: nothing was learned of them.
        """
        scores_BI = np.empty((len(histories), len(self._catalogue)), np.float32)
        lengths = np.minimum(histories.lengths, self.module.reads)
        order = np.argsort(lengths, kind="stable")
        width = int(lengths.max(initial=0)) + 2
        most = min(_STATES_AT_ONCE // width, _LOGITS_AT_ONCE // max(1, len(self._catalogue)))
        with torch.inference_mode():
            for start in range(0, len(order), max(1, most)):
                rows = order[start : start + max(1, most)]
                first = histories.offsets[1:][rows] - lengths[rows]
                size = len(self._catalogue)
                people = self._people(histories, rows)
                sequences = Sequences.cut(histories, first, lengths[rows], size, people)
                now_B = tensor(histories.now[rows])
                queries_BD = self.module.answers(sequences, self._items_ID, now_B)
                scores_BI[rows] = self.module.logits(queries_BD, self._items_ID).numpy()
        if not self.module.content and not self._known_I.all() and scores_BI.size:
            scores_BI[:, ~self._known_I] = scores_BI.min(axis=1, keepdims=True) - 1
        return scores_BI

    def settings(self) -> dict[str, Any]:
        """Return the shape, and what is read of people."""
        told = {
            "config": self.module.config.model_dump(mode="json", exclude=set(SOURCES)),
            "actions": self.module.actions,
            "history": self.module.history,
        }
        if not self.module.personal:
            return told
        return told | {"attributes": self.module.attributes, "clock": self.module.clock}

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
        known_I = tensors["items.known_I"] > 0
        facts = ItemFacts(tensors["items.content_IV"], known_I, torch.zeros(len(known_I), 0))
        config = NeuralRivalsConfig.model_validate(settings["config"])
        module = cls.shaped(settings, config, facts)
        if not settings.get("clock", True):
            module.without_clock()
        module.load_state_dict(tensors)
        module.attributes = tuple(settings.get("attributes", ()))
        return cls(module, catalogue)

    @classmethod
    def limited(cls, config: Config) -> Config:
        """Return the configuration with no more history than the network can read."""
        return config

    @classmethod
    def fresh(cls, config: Config, facts: ItemFacts) -> NextItemModule:
        """Return the network before training."""
        settings, types = config.evaluation.neural, len(config.actions.types)
        return cls.network(settings, facts, types, config.model.history)

    @classmethod
    def shaped(
        cls, settings: dict[str, Any], config: NeuralRivalsConfig, facts: ItemFacts
    ) -> NextItemModule:
        """Return the network that was stored, without its weights."""
        return cls.network(config, facts, int(settings["actions"]), int(settings["history"]))

    def _people(self, histories: Histories, rows: NDArray[np.int64]) -> list[dict[str, str]] | None:
        """Return what was trained on of what is known of people, and no more."""
        if not histories.people or not self.module.attributes:
            return None
        known = [histories.people[row] or {} for row in rows]
        read = self.module.attributes
        return [{name: person[name] for name in read if name in person} for person in known]

    @classmethod
    def fit(cls, dataset: Dataset, fold: Fold, config: Config) -> Model:
        """Train on the histories before the fold's test window.

        The number of epochs is searched for by NDCG@10 on the validation window. A fold without
        one (`Fold(end, end, end)`) is learned from for all of `evaluation.neural.epochs`.

        Raises:
            TrainingError: nothing lies before the cut, or a loss is not finite.
        """
        config = cls.limited(config)
        settings = config.evaluation.neural

        def make(cut: int) -> Task[NextItemModule]:
            windows = Windows.before(dataset, cut, config)
            known, content = windows.known, cls.network.content
            facts = ItemFacts.of(dataset, known, config.model, content=content)
            module = cls.fresh(config, facts)
            if module.personal and not config.model.request_time:
                module.without_clock()
            module.reads_of(dataset)
            tokens = settings.tokens_per_batch
            return Task(module, lambda random: windows.batches(tokens, random), module.loss)

        window = validation_of(dataset, fold, config)

        def judge(module: NextItemModule) -> float:
            return window.ndcg(cls(module, dataset.catalogue))

        module = train(cls.kind, make, judge if len(window) else None, fold, config)
        scorer = cls(module, dataset.catalogue)
        return Model(scorer, dataset.titles, config.actions, config.model.history)
