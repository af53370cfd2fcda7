"""A week of the generated shop, day by day: trained in full every day, or refreshed every day."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recommender.artifact import Model
from recommender.config import Config, load
from recommender.features.build import build_dataset, catalogue_order
from recommender.features.dataset import Dataset
from recommender.features.text import encode_items
from recommender.privacy import Pseudonyms
from recommender.scoring import Scorer
from recommender.sources.read import read
from recommender.split import Fold
from recommender.training.refresh import Champion, refresh
from recommender.training.run import train
from recommender.training.validation import Validation

CONFIG = Path(__file__).parents[2] / "configs" / "synthetic.yaml"
DAY = 24 * 3_600_000
DAYS = 7
AFTER = 5
"""Days behind the week that models are asked about: one day alone has some two hundred people."""


@dataclass(frozen=True)
class Week:
    """Eight cuts, a day apart; some days are left behind the last."""

    config: Config
    dataset: Dataset
    cuts: tuple[int, ...]

    def fold(self, day: int) -> Fold:
        """The day's cut; validation takes the tenth before it, as in `split`."""
        history = self.dataset.log.before(self.cuts[day])
        history = history.of_types(self.config.actions.histories, self.config.actions)
        return Fold(int(np.quantile(history.times, 0.9)), self.cuts[day], self.cuts[day] + DAY)

    def ndcg(self, scorer: Scorer, day: int, days: int = AFTER) -> np.ndarray:
        """NDCG@10 of everybody who asks in the days after a cut."""
        asked = Validation.build(
            self.dataset.log,
            self.cuts[day],
            self.cuts[day] + days * DAY,
            len(self.dataset.catalogue),
            self.config.actions,
            self.config.features.history_limit,
            self.config.evaluation.requests_per_user,
            10**9,
        )
        return asked.ndcg_of_users(scorer)


def open_week(workspace: Path, settings: dict[str, object]) -> Week:
    config = load(CONFIG, {"workspace": str(workspace), **settings})
    tables, _ = read(config)
    text = encode_items(catalogue_order(tables.items), config.features.text, config.paths.cache)
    dataset = build_dataset(tables, config, text, Pseudonyms(b"sixteen bytes ok"), "v")
    end = int(dataset.log.times.max()) + 1
    cuts = tuple(end - (DAYS + AFTER - day) * DAY for day in range(DAYS + 1))
    return Week(config, dataset, cuts)


def timed(work: Callable[[], Model]) -> tuple[Model, float]:
    """Return what the work makes, and the CPU seconds that it took."""
    cpu = time.process_time()
    return work(), time.process_time() - cpu


def in_full(week: Week, day: int) -> tuple[Model, float]:
    return timed(lambda: train(week.dataset, week.fold(day), week.config).model)


def refreshed(week: Week, first: Model) -> Iterator[tuple[Model, float]]:
    """Yield the models of days 1 … 7, each refreshed from the one of the day before."""
    model = first
    for day in range(1, DAYS + 1):
        champion = Champion(f"day-{day - 1}", model, week.cuts[day - 1])
        fold = week.fold(day)
        model, cpu = timed(
            lambda champion=champion, fold=fold: (
                refresh(week.dataset, fold, champion, week.config).trained.model
            )
        )
        yield model, cpu
