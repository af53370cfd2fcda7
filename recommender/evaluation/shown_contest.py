"""Several models asked about the same items that were put in front of people: who takes what?

`contest` compares what systems find in a catalogue; a ranker of shown items (DIN, xDeepFM) is
compared here, on the cases of the last fold's test window (see `heads`), with the unified model and
with what the item alone tells.

Shape letters: N cases, V people with cases of both kinds, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recommender.artifact import Model
from recommender.config import Config
from recommender.errors import EvaluationError
from recommender.evaluation.heads import Doubles, foretell, item_shares
from recommender.evaluation.metrics.classification import UserAUC, auc, log_loss, user_auc
from recommender.evaluation.records import Interval
from recommender.evaluation.statistics import bca_interval, resampled_totals
from recommender.features.dataset import Dataset
from recommender.scoring import ActionModel

ITEM_ALONE = "item alone"
"""The name of the share of an item's earlier cases that went as far."""


@dataclass(frozen=True)
class Shown:
    """How well one model tells one event type from lesser ones.

    Attributes:
        system: its name; `ITEM_ALONE` for what stands beside the models.
        event: a case is positive if it went at least this far.
        cases, positives: how many.
        users: people with cases of both kinds, of whom alone `user_auc` tells.
        user_auc: AUC within people, weighted by their cases.
        auc: over all cases.
        log_loss: nats.
        gap: AUC within people of the first model minus this one's; None of the first.
    """

    system: str
    event: str
    cases: int
    positives: int
    users: int
    user_auc: float
    auc: float
    log_loss: float
    gap: Interval | None


def judge_shown(models: Mapping[str, Model], dataset: Dataset, config: Config) -> list[Shown]:
    """Judge every event type but the least; one that all or no cases reach is left out.

    Args:
        models: trained on what lies before the last fold's test window; the first is compared
            with each of the others.
        dataset: the log of all event types.
        config: the event types, how far histories go, the most cases, and the intervals.

    Raises:
        EvaluationError: a model says nothing of what people do with items.
    """
    actions, fold = config.actions, dataset.folds[-1]
    told = {}
    for name, model in models.items():
        if not isinstance(model.scorer, ActionModel):
            raise EvaluationError(f"{name} does not tell what people do with what they are shown")
        told[name] = foretell(
            model.scorer,
            dataset,
            fold,
            actions,
            history_limit=model.history,
            most=config.evaluation.head_cases,
            seed=config.seed,
        )
    rows: list[Shown] = []
    some = next(iter(told.values()))
    shares_AI = item_shares(dataset, fold, len(actions.types))
    for code in range(2, len(actions.types) + 1):
        reached = some.reached >= code
        if not len(reached) or reached.all() or not reached.any():
            continue
        chances = {name: each.reaching(code)[1] for name, each in told.items()}
        chances[ITEM_ALONE] = shares_AI[code - 1, some.items]
        within = {name: user_auc(some.users, reached, each) for name, each in chances.items()}
        first = next(iter(within.values()))
        rows += [
            Shown(
                system=name,
                event=actions.types[code - 1],
                cases=len(reached),
                positives=int(reached.sum()),
                users=len(within[name].users),
                user_auc=within[name].value,
                auc=auc(reached, chance),
                log_loss=log_loss(reached, chance),
                gap=None if within[name] is first else _gap(first, within[name], config),
            )
            for name, chance in chances.items()
        ]
    return rows


def _gap(first: UserAUC, other: UserAUC, config: Config) -> Interval:
    """Return one AUC within people minus another, with its interval over people."""
    weights_V = first.weights.astype(np.float64)
    if not len(weights_V):
        return Interval(estimate=None, low=None, high=None)
    columns_V2 = np.stack([(first.each - other.each) * weights_V, weights_V], axis=1)
    totals_R2 = resampled_totals(columns_V2, config.evaluation.resamples, config.seed)
    estimate, low, high = _interval(columns_V2, totals_R2, config.evaluation.confidence)
    return Interval.of(estimate, low, high)


def _interval(
    columns_V2: Doubles, totals_R2: Doubles, confidence: float
) -> tuple[float, float, float]:
    whole_2 = columns_V2.sum(axis=0)
    left_out_V2 = whole_2 - columns_V2
    estimate = float(whole_2[0] / whole_2[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        left_out_V = left_out_V2[:, 0] / left_out_V2[:, 1]
    low, high = bca_interval(estimate, totals_R2[:, 0] / totals_R2[:, 1], left_out_V, confidence)
    return estimate, low, high
