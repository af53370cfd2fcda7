"""Matrix factorisation with binary cross-entropy: a vector per user, a vector per item.

What a user took is told apart from items drawn evenly. `matrix-factorisation-text` fuses each
item's id with its text and attributes; `frozen-text-factorisation` makes it of the text encoder's
frozen vector alone, by a linear map. Whoever is asked about gets their vector from their history
as of the moment (folding in): the one that training would have given them with the items fixed,
which is a small convex problem, solved by Newton's method. So it answers people whom it has never
seen, and as of now those whom it has.

Shape letters: U users, I items, B histories, T taken items of the longest of them, N pairs, J drawn
items, D width.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recommender.artifact import Model
from recommender.baselines.neural.factors import RIDGE, Factors, Pairs
from recommender.baselines.neural.items import ItemFacts
from recommender.baselines.neural.training import Task, train
from recommender.baselines.neural.validation import validation_of
from recommender.config import Config
from recommender.features.dataset import Dataset
from recommender.features.sequences import Catalogue, Histories
from recommender.features.text import describe, encode_texts
from recommender.model.padded import tensor
from recommender.scoring import Floats
from recommender.split import Fold

_BACKGROUND = 1024
_NEWTON_STEPS = 8
_AT_ONCE = 128


class Factorisation:
    """Ranks by the product of an item's vector and the one that explains the history best.

    Args:
        catalogue: the items.
        items_ID: their vectors, (I, D).
        bias_I: what each has by itself, (I,).
        background_J: catalogue rows that stand for what was not taken, (J,).
        known_I: whether an item was seen in training, (I,) bool.
        successes: codes of the event types that count as taken.
        negatives: how many items were drawn for each one taken.
        content: whether items unknown in training are told by their content.
        history: most recent events that are read.
        parameters: numbers that were trained, the users' among them, which are not kept.
    """

    kind: ClassVar[str] = "matrix-factorisation"
    content: ClassVar[bool] = False
    ids: ClassVar[bool] = True

    def __init__(
        self,
        catalogue: Catalogue,
        items_ID: Tensor,
        bias_I: Tensor,
        background_J: Tensor,
        known_I: Tensor,
        successes: tuple[int, ...],
        negatives: int,
        history: int,
        parameters: int = 0,
    ) -> None:
        if len(items_ID) != len(catalogue):
            raise ValueError(f"{len(items_ID)} vectors for {len(catalogue)} items")
        self._catalogue = catalogue
        self._items_ID, self._bias_I = items_ID, bias_I
        self._background_J, self._known_I = background_J, known_I
        self._successes, self._negatives, self._history = successes, negatives, history
        self.parameters = parameters or items_ID.numel() + bias_I.numel()

    @property
    def catalogue(self) -> Catalogue:
        """The items that it ranks."""
        return self._catalogue

    def scores(self, histories: Histories) -> Floats:
        """Return the logits, (B, I); where ids alone are read, unknown items come last."""
        scores_BI = np.empty((len(histories), len(self._catalogue)), np.float32)
        with torch.inference_mode():
            for start in range(0, len(histories), _AT_ONCE):
                some = histories.slice(start, min(start + _AT_ONCE, len(histories)))
                user_BD = self.users(some.recent(self._history))
                logits_BI = torch.addmm(self._bias_I, user_BD, self._items_ID.T)
                scores_BI[start : start + len(some)] = logits_BI.numpy()
        unknown_I = ~self._known_I.numpy()
        if not self.content and unknown_I.any() and scores_BI.size:
            scores_BI[:, unknown_I] = scores_BI.min(axis=1, keepdims=True) - 1
        return scores_BI

    def users(self, histories: Histories) -> Tensor:
        """Return the vectors that explain histories best, (B, D); zeros for an empty one.

        They minimise, over p, the mean loss of what was taken, plus `negatives` times that of the
        background, plus ridge / 2 · |p|²: the training's loss of one user, the background standing
        for the drawn items.
        """
        taken = np.isin(histories.actions, self._successes)
        owner = np.repeat(np.arange(len(histories)), histories.lengths)[taken]
        counts_B = np.bincount(owner, minlength=len(histories))
        place = np.arange(len(owner)) - np.repeat(np.cumsum(counts_B) - counts_B, counts_B)
        longest = max(1, int(counts_B.max(initial=0)))
        rows_BT = torch.zeros(len(histories), longest, dtype=torch.int64)
        weight_BT = torch.zeros(len(histories), longest)
        rows_BT[owner, place] = tensor(histories.items[taken])
        weight_BT[owner, place] = torch.from_numpy((1 / counts_B[owner]).astype(np.float32))
        positive_BTD, bias_BT = self._items_ID[rows_BT], self._bias_I[rows_BT]
        drawn_JD, bias_J = self._items_ID[self._background_J], self._bias_I[self._background_J]
        share = self._negatives / len(drawn_JD)
        some_B1 = torch.from_numpy(counts_B > 0)[:, None].to(torch.float32)
        width = self._items_ID.shape[1]
        squares_JDD = (drawn_JD[:, :, None] * drawn_JD[:, None, :]).flatten(1)
        user_BD = torch.zeros(len(histories), width)
        for _ in range(_NEWTON_STEPS):
            chance_BT = torch.sigmoid((positive_BTD @ user_BD[:, :, None])[..., 0] + bias_BT)
            chance_BJ = torch.sigmoid(torch.addmm(bias_J, user_BD, drawn_JD.T))
            missed_BT = weight_BT * (chance_BT - 1)
            slope_BD = (missed_BT[:, None] @ positive_BTD)[:, 0] + share * chance_BJ @ drawn_JD
            slope_BD = slope_BD + RIDGE * user_BD
            bend_BT = weight_BT * chance_BT * (1 - chance_BT)
            bend_BDD = positive_BTD.mT @ (bend_BT[:, :, None] * positive_BTD)
            spread_BJ = share * chance_BJ * (1 - chance_BJ)
            bend_BDD = bend_BDD + (spread_BJ @ squares_JDD).view(-1, width, width)
            bend_BDD = bend_BDD + RIDGE * torch.eye(width)
            user_BD = user_BD - torch.linalg.solve(bend_BDD, slope_BD)
        return user_BD * some_B1

    def settings(self) -> dict[str, Any]:
        """Return what the vectors were made for."""
        return {
            "successes": list(self._successes),
            "negatives": self._negatives,
            "history": self._history,
            "parameters": self.parameters,
        }

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the items' side."""
        return {
            "items": self._items_ID.numpy(),
            "bias": self._bias_I.numpy(),
            "background": self._background_J.numpy(),
            "known": self._known_I.numpy(),
        }

    @classmethod
    def restore(
        cls, settings: dict[str, Any], weights: dict[str, NDArray[Any]], catalogue: Catalogue
    ) -> Self:
        """Make it again from what `settings` and `weights` returned."""
        arrays = [weights[name].copy() for name in ("items", "bias", "background", "known")]
        items_ID, bias_I, background_J, known_I = (torch.from_numpy(array) for array in arrays)
        return cls(
            catalogue,
            items_ID,
            bias_I,
            background_J,
            known_I,
            tuple(int(code) for code in settings["successes"]),
            int(settings["negatives"]),
            int(settings["history"]),
            int(settings.get("parameters", 0)),
        )

    @classmethod
    def facts(cls, dataset: Dataset, known: NDArray[np.bool_], config: Config) -> ItemFacts:
        """Return what is read of the items besides their ids."""
        return ItemFacts.of(dataset, known, config.model, content=cls.content)

    @classmethod
    def fit(cls, dataset: Dataset, fold: Fold, config: Config) -> Model:
        """Train on the successes before the fold's test window.

        Raises:
            TrainingError: nothing lies before the cut, or a loss is not finite.
        """
        settings, actions = config.evaluation.neural, config.actions
        successes = tuple(actions.code(name) for name in actions.successes)
        size = len(dataset.catalogue)
        random = np.random.default_rng(config.seed)

        def make(cut: int) -> Task[Factors]:
            log = dataset.log.of_types(actions.successes, actions).before(cut)
            pairs = Pairs.of(log, size)
            known = np.bincount(log.items, minlength=size) > 0
            facts = cls.facts(dataset, known, config)
            users, negatives = len(log.users), settings.pair_negatives
            module = Factors(facts, users, settings.width, negatives, ids=cls.ids)
            batch = settings.cases_per_batch
            return Task(module, lambda drawn: pairs.batches(batch, drawn), module.loss)

        def scorer(module: Factors) -> Factorisation:
            known = module.known.numpy()
            drawn = random.choice(known, min(_BACKGROUND, len(known)), replace=False)
            with torch.inference_mode():
                items_ID = module.items()
            return cls(
                dataset.catalogue,
                items_ID,
                module.bias_I.detach(),
                torch.from_numpy(np.sort(drawn)),
                module.items.known_I > 0,
                successes,
                settings.pair_negatives,
                config.model.history,
                sum(each.numel() for each in module.parameters() if each.requires_grad),
            )

        window = validation_of(dataset, fold, config)

        def judge(module: Factors) -> float:
            return window.ndcg(scorer(module))

        module = train(cls.kind, make, judge if len(window) else None, fold, config)
        return Model(scorer(module), dataset.titles, config.actions, config.model.history)


class TextFactorisation(Factorisation):
    """The same with items of id and content."""

    kind: ClassVar[str] = "matrix-factorisation-text"
    content: ClassVar[bool] = True


class FrozenTextFactorisation(Factorisation):
    """The same with items that are a linear map of their text's frozen vectors, and nothing else.

    The encoder is whichever `evaluation.neural.frozen_text` names, or else that of
    `features.text`.
    """

    kind: ClassVar[str] = "frozen-text-factorisation"
    content: ClassVar[bool] = True
    ids: ClassVar[bool] = False

    @classmethod
    def facts(cls, dataset: Dataset, known: NDArray[np.bool_], config: Config) -> ItemFacts:
        """Return the items' text vectors.

        Raises:
            FeatureError: the encoder can't be fetched or loaded.
        """
        encoder, text = config.evaluation.neural.frozen_text, dataset.text
        if encoder is not None:
            told = describe(dataset.items)
            text = encode_texts(told, encoder, config.paths.cache, label=cls.kind).vectors
        read_IW = torch.from_numpy(np.ascontiguousarray(text, np.float32))
        return ItemFacts(read_IW, torch.from_numpy(known), torch.zeros(len(known), 0))


def fit_factorisation(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Factorise what lies before the fold's test window."""
    return Factorisation.fit(dataset, fold, config)


def fit_text_factorisation(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Factorise what lies before the fold's test window, items told by their content, too."""
    return TextFactorisation.fit(dataset, fold, config)


def fit_frozen_text_factorisation(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Factorise what lies before the fold's test window, items told by their text alone."""
    return FrozenTextFactorisation.fit(dataset, fold, config)
