"""Everything that is found out beside the comparison of means."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict

import numpy as np

from recommender.artifact import Model
from recommender.config import Config
from recommender.evaluation.breakdown import break_down, gaps, groups, strongest
from recommender.evaluation.findings import (
    BudgetFacts,
    CurvePoint,
    Findings,
    HeadFacts,
    ValueFacts,
)
from recommender.evaluation.heads import ActionModel, Head, judge_heads
from recommender.evaluation.listing import describe_lists, describe_providers
from recommender.evaluation.logged import off_policy
from recommender.evaluation.long_term.served_lists import Shown
from recommender.evaluation.long_term.versions import versions
from recommender.evaluation.long_term.view import view
from recommender.evaluation.panel import Panel
from recommender.evaluation.records import rounded
from recommender.evaluation.values import judge_values
from recommender.features.dataset import Dataset
from recommender.scoring import ValueModel

_TIMED = 30


def find(
    panel: Panel,
    dataset: Dataset,
    candidate: Model,
    config: Config,
    shown: Shown | None = None,
) -> Findings:
    """Look at groups, lists, heads, the logged policy, the long term and the cost.

    Args:
        panel: the candidate (first) and its rivals.
        dataset: what they were trained and tested on.
        candidate: of the last fold.
        config: the whole configuration.
        shown: lists that were served, if any were logged.
    """
    rival = strongest(panel) if len(panel.runs) > 1 else next(iter(panel.runs))
    fold = dataset.folds[-1]
    return Findings(
        compared_with=rival,
        slices=break_down(panel, groups(panel.requests, dataset, config), rival, config),
        gaps=gaps(panel, dataset, rival, config),
        providers=describe_providers(panel, dataset, config),
        lists=describe_lists(panel, dataset, config),
        heads=_heads(candidate, dataset, config),
        values=_values(candidate, dataset, config),
        off_policy=off_policy(candidate.scorer, candidate.history, dataset, fold, config),
        long_term=view(dataset.log, config.actions),
        versions=None if shown is None else versions(shown, config),
        budget=_budget(candidate, panel),
    )


def _heads(candidate: Model, dataset: Dataset, config: Config) -> tuple[HeadFacts, ...]:
    if not isinstance(candidate.scorer, ActionModel):
        return ()
    judged = judge_heads(
        candidate.scorer,
        dataset,
        dataset.folds[-1],
        config.actions,
        history_limit=min(candidate.history, config.features.history_limit),
        most=config.evaluation.head_cases,
        seed=config.seed,
    )
    return tuple(_facts(head) for head in judged)


def _values(candidate: Model, dataset: Dataset, config: Config) -> tuple[ValueFacts, ...]:
    scorer, values = candidate.scorer, config.model.ranking.values
    # A candidate that was trained otherwise may foretell other values, or none.
    if not isinstance(scorer, ValueModel) or not {v.name for v in values} <= {*scorer.value_names}:
        return ()
    judged = judge_values(
        scorer,
        dataset,
        dataset.folds[-1],
        config.actions,
        values,
        history_limit=min(candidate.history, config.features.history_limit),
        most=config.evaluation.head_cases,
        seed=config.seed,
    )
    return tuple(ValueFacts(**asdict(fit)) for fit in judged)


def _facts(head: Head) -> HeadFacts:
    curve, decisions = head.curve, head.decisions
    return HeadFacts(
        event=head.event,
        cases=head.cases,
        positives=head.positives,
        users=head.users,
        judged_users=head.judged_users,
        auc=rounded(head.auc),
        user_auc=rounded(head.user_auc),
        log_loss=head.log_loss,
        item_auc=rounded(head.item_auc),
        item_user_auc=rounded(head.item_user_auc),
        item_log_loss=head.item_log_loss,
        accuracy=rounded(decisions.accuracy),
        precision=rounded(decisions.precision),
        recall=rounded(decisions.recall),
        f1=rounded(decisions.f1),
        calibration_error=curve.error,
        curve=tuple(
            CurvePoint(
                predicted=float(curve.predicted[row]),
                happened=float(curve.happened[row]),
                low=float(curve.low[row]),
                high=float(curve.high[row]),
                count=int(curve.counts[row]),
            )
            for row in range(len(curve.counts))
        ),
    )


def _budget(candidate: Model, panel: Panel) -> BudgetFacts:
    """Measure single requests, as the endpoint answers them; spread over the frozen set."""
    requests = panel.requests
    rows = np.unique(np.linspace(0, len(requests) - 1, _TIMED).astype(np.int64))
    taken = []
    for row in rows:
        asked = requests.histories(np.array([row])).recent(candidate.history)
        started = time.perf_counter()
        candidate.scorer.scores(asked)
        taken.append(time.perf_counter() - started)
    return BudgetFacts(
        bytes=sum(array.nbytes for array in candidate.scorer.weights().values()),
        milliseconds=round(1000 * statistics.median(taken), 3),
    )
