"""`ostinato bench`: the model and its rivals on one data set, trained and measured alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from pipelines.bench_tables import show, show_shown, write
from recommender.artifact import Model
from recommender.baselines import rivals
from recommender.config import Config
from recommender.config.evaluation import Rival
from recommender.ensemble import fused
from recommender.errors import ConfigError
from recommender.evaluation.contest import Contest, Contestant, Cost, hold
from recommender.evaluation.shown_contest import Shown, judge_shown
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.dataset import Dataset
from recommender.features.text import encode_items
from recommender.forgetting.encoders import refuse_marked
from recommender.privacy import pseudonyms
from recommender.quality.clean import clean
from recommender.scoring import learned_numbers
from recommender.sources.read import read
from recommender.split import Fold

UNIFIED = "unified"
"""The name of the model that this project is about."""

ENSEMBLE = "ensemble"
"""The name of its fusion with the systems of `training.ensemble`."""

CLASSICS = (UNIFIED, "popularity", "recent-popularity", "item-knn")
"""Who takes part unless others are named."""


def dataset_of(config: Config) -> Dataset:
    """Read the source and return what models are trained on, as the pipeline's first steps do.

    Nothing is published and nothing accepted: a comparison leaves the product as it is.

    Raises:
        UserError: the source can't be read or turned into features, or the text encoder saw
            somebody who was forgotten.
    """
    refuse_marked(config)
    tables, _ = read(config)
    cleaned = clean(tables, config, datetime.now(UTC)).tables
    text = encode_items(catalogue_order(cleaned.items), config.features.text, config.paths.cache)
    return build_dataset(cleaned, config, text, pseudonyms(config.paths.keys), "bench")


def contestants(config: Config, systems: Sequence[str]) -> list[Contestant]:
    """Return who takes part, the unified model first if it does.

    Args:
        config: everybody's.
        systems: `unified`, `ensemble` and names of rivals.

    Raises:
        ConfigError: nobody is called so, the ensemble takes part and has no members, or a ranker
            of shown items does and all events are of one type.
    """
    own: dict[str, rivals.Fit] = {UNIFIED: fit_unified, ENSEMBLE: fit_ensemble}
    known = [*own, *rivals.names()]
    if strangers := [name for name in systems if name not in known]:
        raise ConfigError(f"no system is called {strangers[0]!r}", f"there are {', '.join(known)}")
    if ENSEMBLE in systems and config.training.ensemble is None:
        raise ConfigError(
            "the ensemble has no members", "name them and their weights in training.ensemble"
        )
    rankers = [name for name in systems if name in rivals.RANKERS]
    if rankers and len(config.actions.types) < 2:
        raise ConfigError(
            f"{rankers[0]} tells how far people go with what they are shown, and actions.types "
            f"names one event type alone",
            f"leave {' and '.join(rankers)} out, or name lesser events in actions.types, too",
        )
    ordered = sorted(dict.fromkeys(systems), key=lambda name: name != UNIFIED)
    return [Contestant(name, own.get(name) or _rival(name), config) for name in ordered]


def fit_unified(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train the unified Transformer, its own answer for everybody, also without a history."""
    from recommender.training.run import forget, train

    trained = train(dataset, fold, config, UNIFIED)
    forget(dataset, fold, config)
    return trained.model


def fit_ensemble(dataset: Dataset, fold: Fold, config: Config) -> Model:
    """Train the unified Transformer and fuse it with the systems of `training.ensemble`."""
    return fused(fit_unified(dataset, fold, config), dataset, fold, config)


@dataclass(frozen=True)
class Benched:
    """What a comparison found.

    Attributes:
        contest: of those that find things in the catalogue; None where none takes part.
        shown: of those that rank what is put in front of people, beside the first of the contest.
        costs: of the latter.
    """

    contest: Contest | None
    shown: tuple[Shown, ...] = ()
    costs: dict[str, Cost] = field(default_factory=dict)


def compare(config: Config, taking_part: Sequence[Contestant], dataset: Dataset) -> Benched:
    """Train and measure: finders by what they find, rankers by what people did with what they saw.

    Raises:
        UserError: the data can't be cut or trained on.
    """
    rankers = [each for each in taking_part if each.name in rivals.RANKERS]
    finders = [each for each in taking_part if each.name not in rivals.RANKERS]
    contest = hold(dataset, finders, config) if finders else None
    if not rankers:
        return Benched(contest)
    fitted = {} if contest is None else contest.models
    models = {name: model for name, model in fitted.items() if name in (UNIFIED, ENSEMBLE)}
    costs = {}
    for each in rankers:
        started = time.process_time()
        model = each.fit(dataset, dataset.folds[-1], each.config)
        spent = time.process_time() - started
        models[each.name] = model
        costs[each.name] = Cost(model.scorer.kind, spent, learned_numbers(model.scorer), None)
    return Benched(contest, tuple(judge_shown(models, dataset, config)), costs)


def run(config: Config, systems: Sequence[str], screen: Console, out: Path | None) -> Benched:
    """Train and measure the systems, print the table, and write it if asked.

    Raises:
        UserError: no such system, or the data can't be read, cut or trained on.
    """
    taking_part = contestants(config, systems)
    found = compare(config, taking_part, dataset_of(config))
    if found.contest is not None:
        show(found.contest, screen)
    if found.costs:
        show_shown(found, screen)
    if out is not None:
        write(found, config, out)
    return found


def _rival(name: str) -> rivals.Fit:
    def fit(dataset: Dataset, fold: Fold, config: Config) -> Model:
        chosen: Rival = name  # type: ignore[assignment]  # checked against the table of rivals
        return rivals.fit(chosen, dataset, fold, config)

    return fit
