"""The rivals by name: how each is fitted on what lies before a fold's test window.

To add one: its name in `config.evaluation.Rival`, a row here, its class in `artifact.KINDS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from recommender.artifact import Model
from recommender.config import Config
from recommender.config.evaluation import Rival
from recommender.features.dataset import Dataset
from recommender.split import Fold

Fit = Callable[[Dataset, Fold, Config], Model]

# Where each is fitted, within this package; imported only when it is asked for, torch with it
# where it needs that.
FITS: dict[Rival, str] = {
    "popularity": "popularity:fit_popularity",
    "recent-popularity": "popularity:fit_recent_popularity",
    "trend-popularity": "trend_popularity:fit_trend_popularity",
    "ar-popularity": "trend_popularity:fit_ar_popularity",
    "ma-popularity": "trend_popularity:fit_ma_popularity",
    "arma-popularity": "trend_popularity:fit_arma_popularity",
    "sarima-popularity": "trend_popularity:fit_sarima_popularity",
    "item-knn": "item_knn:fit_item_knn",
    "history-text": "content:fit_history_text",
    "behaviour-text": "content:fit_behaviour_text",
    "matrix-factorisation": "neural.factorisation:fit_factorisation",
    "matrix-factorisation-text": "neural.factorisation:fit_text_factorisation",
    "frozen-text-factorisation": "neural.factorisation:fit_frozen_text_factorisation",
    "feed-forward": "neural.feed_forward:fit_feed_forward",
    "gru4rec": "neural.recurrent:fit_gru4rec",
    "lstm": "neural.recurrent:fit_lstm",
    "two-tower": "neural.two_tower:fit_two_tower",
    "encoder-decoder": "neural.encoder_decoder:fit_encoder_decoder",
    "bert4rec": "neural.bert4rec:fit_bert4rec",
    "sasrec": "neural.sasrec:fit_sasrec",
    "sasrec-softmax": "neural.sasrec:fit_sasrec_softmax",
    "behaviour-gpt": "neural.behaviour_lm:fit_behaviour_gpt",
    "behaviour-bert": "neural.behaviour_lm:fit_behaviour_bert",
    "din": "neural.din:fit_din",
    "xdeepfm": "neural.xdeepfm:fit_xdeepfm",
}

RANKERS: tuple[Rival, ...] = ("din", "xdeepfm")
"""Those that rank what is put in front of people (`recommender.scoring.ActionModel`), rather than
find it in the catalogue."""


def names() -> tuple[str, ...]:
    """Return what the rivals are called."""
    return tuple(FITS)


def fit(rival: Rival, dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Fit a rival on everything before the fold's test window.

    That includes the validation window, which a trained candidate only stops early on: the
    comparison leans towards the rivals.

    Args:
        rival: its name.
        dataset: log, catalogue, text vectors.
        fold: nothing at or after `test_start` is read.
        config: the whole tree.

    Raises:
        TrainingError: a network has nothing to learn, or its loss is not finite.
    """
    module, name = FITS[rival].split(":")
    chosen: Fit = getattr(importlib.import_module(f"recommender.baselines.{module}"), name)
    return chosen(dataset, fold, config)
