"""A model as a folder of safetensors and JSON; no pickle anywhere.

model.json           kind, settings, the actions and history length that serving needs
weights.safetensors  named arrays
items.json           item_id, title: parallel lists in score order
cold_users.safetensors  what people without history are shown, where it isn't the model's own answer
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recommender.cold_users import ColdUsers, Served
from recommender.config.actions import ActionsConfig
from recommender.errors import ArtifactError, StorageError
from recommender.feature_services import UNIFIED_V1, UNIFIED_V2
from recommender.features.sequences import Catalogue
from recommender.files import atomic_directory, read_json, write_json
from recommender.scoring import ReadsMore, Scorer

FORMAT = 2
FILES = ("model.json", "weights.safetensors", "items.json")
# Models of format 1 have their items in a Parquet file.
_FORMATS, _ITEMS_OF_1 = (1, FORMAT), "items.parquet"
COLD_USERS = "cold_users.safetensors"

# Where the class of each kind lives; imported only when a model of that kind is loaded.
KINDS = {
    "popularity": "recommender.baselines.popularity:Popularity",
    "recent-popularity": "recommender.baselines.popularity:RecentPopularity",
    "trend-popularity": "recommender.baselines.trend_popularity:TrendPopularity",
    "ar-popularity": "recommender.baselines.trend_popularity:ARPopularity",
    "ma-popularity": "recommender.baselines.trend_popularity:MAPopularity",
    "arma-popularity": "recommender.baselines.trend_popularity:ARMAPopularity",
    "sarima-popularity": "recommender.baselines.trend_popularity:SARIMAPopularity",
    "item-knn": "recommender.baselines.item_knn:ItemKNN",
    "history-text": "recommender.baselines.content:HistoryText",
    "behaviour-text": "recommender.baselines.content:BehaviourText",
    "matrix-factorisation": "recommender.baselines.neural.factorisation:Factorisation",
    "matrix-factorisation-text": "recommender.baselines.neural.factorisation:TextFactorisation",
    "frozen-text-factorisation": (
        "recommender.baselines.neural.factorisation:FrozenTextFactorisation"
    ),
    "feed-forward": "recommender.baselines.neural.feed_forward:FeedForward",
    "gru4rec": "recommender.baselines.neural.recurrent:GRU4Rec",
    "lstm": "recommender.baselines.neural.recurrent:LSTM",
    "two-tower": "recommender.baselines.neural.two_tower:TwoTower",
    "encoder-decoder": "recommender.baselines.neural.encoder_decoder:EncoderDecoder",
    "bert4rec": "recommender.baselines.neural.bert4rec:BERT4Rec",
    "sasrec": "recommender.baselines.neural.sasrec:SASRec",
    "sasrec-softmax": "recommender.baselines.neural.sasrec:SASRecSoftmax",
    "behaviour-gpt": "recommender.baselines.neural.behaviour_lm:BehaviourGPT",
    "behaviour-bert": "recommender.baselines.neural.behaviour_lm:BehaviourBERT",
    "din": "recommender.baselines.neural.din:DIN",
    "xdeepfm": "recommender.baselines.neural.xdeepfm:XDeepFM",
    "transformer": "recommender.model.scorer:TransformerScorer",
    "ensemble": "recommender.ensemble:Ensemble",
}


@dataclass(frozen=True)
class Model:
    """A scorer with what serving needs to know beside it.

    Attributes:
        scorer: ranks the catalogue.
        titles: one per item, in score order.
        actions: the event types it was made for.
        history: most recent events it reads.
        feature_service: the Feast feature service that holds its inputs.
        cold: what people without a history are shown; None: what the scorer makes of none.
    """

    scorer: Scorer
    titles: tuple[str, ...]
    actions: ActionsConfig
    history: int
    feature_service: str = UNIFIED_V1
    cold: ColdUsers | None = None

    @property
    def reads_profiles(self) -> bool:
        """Whether it matters to the scorer who asks."""
        return isinstance(self.scorer, ReadsMore) and self.scorer.reads_profiles

    @property
    def reads_surfaces(self) -> bool:
        """Whether it matters to the scorer where events happened, and where it is asked."""
        return isinstance(self.scorer, ReadsMore) and self.scorer.reads_surfaces

    @property
    def ranker(self) -> Scorer | Served:
        """What ranks, as served: the scorer, and `cold` for people without a history."""
        return self.scorer if self.cold is None else Served(self.scorer, self.cold)

    def basis_of(self, person: Mapping[str, str] | None) -> str:
        """Return what the list of somebody without a history is made from."""
        return "model" if self.cold is None else self.cold.basis_of(person)

    def save(self, folder: Path) -> None:
        """Write the folder, atomically; the same model gives the same bytes."""
        with atomic_directory(folder) as temporary:
            described = {
                "format": FORMAT,
                "kind": self.scorer.kind,
                "settings": self.scorer.settings(),
                "actions": self.actions.model_dump(mode="json"),
                "history": self.history,
                "feature_service": self.feature_service,
            }
            if self.cold is not None:
                described["cold_users"] = self.cold.settings()
                save_file(self.cold.weights(), temporary / COLD_USERS)
            write_json(temporary / "model.json", described)
            save_file(self.scorer.weights(), temporary / "weights.safetensors")
            items = {"item_id": list(self.scorer.catalogue.ids), "title": list(self.titles)}
            write_json(temporary / "items.json", items)

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read what `save` left.

        Raises:
            ArtifactError: a file is missing, truncated, or of a format or kind we don't know.
        """
        try:
            described = read_json(folder / "model.json")
            items = _items(folder)
            weights = load_file(folder / "weights.safetensors")
            cold = load_file(folder / COLD_USERS) if (folder / COLD_USERS).exists() else None
            ids, titles = tuple(items["item_id"]), tuple(items["title"])
        except (StorageError, SafetensorError, pa.ArrowInvalid, OSError, *_NO_ITEMS) as error:
            raise ArtifactError(f"{folder} is not a readable model: {error}") from error
        if not isinstance(described, dict):
            raise ArtifactError(f"{folder}/model.json is not a description of a model")
        if described.get("format") not in _FORMATS or described.get("kind") not in KINDS:
            raise ArtifactError(
                f"{folder}: unknown model format {described.get('format')!r} "
                f"or kind {described.get('kind')!r}"
            )
        catalogue = Catalogue(ids)
        try:
            scorer = restore(described["kind"], described["settings"], weights, catalogue)
            return cls(
                scorer,
                titles,
                ActionsConfig.model_validate(described["actions"]),
                int(described["history"]),
                str(described["feature_service"]),
                None
                if cold is None
                else ColdUsers.restore(described["cold_users"], cold, catalogue),
            )
        except (KeyError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"{folder}: the weights don't fit model.json: {error}") from error


def restore(
    kind: str, settings: dict[str, Any], weights: dict[str, NDArray[Any]], catalogue: Catalogue
) -> Scorer:
    """Make a scorer again from what it said of itself.

    Args:
        kind: of `KINDS`.
        settings: what its `settings` returned.
        weights: what its `weights` returned.
        catalogue: the items that it ranks.

    Raises:
        KeyError: no such kind, or something is missing.
        ValueError: the weights don't fit the settings.
    """
    module, name = KINDS[kind].split(":")
    scorer: Scorer = getattr(importlib.import_module(module), name).restore(
        settings, weights, catalogue
    )
    return scorer


def service_of(scorer: Scorer) -> str:
    """Return the Feast feature service that holds what a scorer reads."""
    more = isinstance(scorer, ReadsMore) and (scorer.reads_profiles or scorer.reads_surfaces)
    return UNIFIED_V2 if more else UNIFIED_V1


_NO_ITEMS = (KeyError, TypeError)


def _items(folder: Path) -> Any:
    old = folder / _ITEMS_OF_1
    if old.exists() and not (folder / "items.json").exists():
        return pq.read_table(old, columns=["item_id", "title"]).to_pydict()
    return read_json(folder / "items.json")
