"""How well a model tells what people do with an item that is put in front of them.

Every first touch of an item in a session of the test window is a case (see `cases.py`): the item,
the moment at which it was shown, and the history strictly before that. The event types are in the
order of growing commitment, so the question about each type but the first is "does it go at least
this far until the session ends?" (a purchase is also a click). Beside the model stands what the
item alone tells: the share of its earlier cases that went as far, smoothed.

Shape letters: N cases, A event types.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recommender.config.actions import ActionsConfig
from recommender.evaluation.metrics.calibration import Reliability, reliability
from recommender.evaluation.metrics.classification import (
    Confusion,
    auc,
    confusion,
    log_loss,
    user_auc,
)
from recommender.features.cases import cases, drawn
from recommender.features.dataset import Dataset
from recommender.features.people import with_people
from recommender.scoring import ActionModel as ActionModel
from recommender.split import Fold

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
_BLOCK = 2048
_STRENGTH = 20.0


@dataclass(frozen=True)
class Head:
    """How well one event type is told from lesser ones.

    Attributes:
        event: the type; a case is positive if it went at least this far.
        cases, positives: how many.
        users: people behind them.
        judged_users: of them, those with cases of both kinds, who alone tell of `user_auc`.
        auc, user_auc, log_loss: see `metrics.classification`.
        item_auc, item_user_auc, item_log_loss: the same of the item's own share.
        decisions: at the share of positives as threshold.
        curve: reliability, with the expected calibration error.
    """

    event: str
    cases: int
    positives: int
    users: int
    judged_users: int
    auc: float
    user_auc: float
    log_loss: float
    item_auc: float
    item_user_auc: float
    item_log_loss: float
    decisions: Confusion
    curve: Reliability


@dataclass(frozen=True)
class Foretold:
    """What was put in front of people in a test window, what a model said of it, and how it went.

    Attributes:
        users: rows of the log's users, (N,).
        items: catalogue rows, (N,).
        reached: code of the farthest event type, (N,).
        chances: of each event type to be the farthest, (N, A).
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    reached: NDArray[np.int64]
    chances: Doubles

    def reaching(self, code: int) -> tuple[Bools, Doubles]:
        """Return which cases went at least this far, and how likely that was found, (N,)."""
        return self.reached >= code, np.clip(self.chances[:, code - 1 :].sum(axis=1), 0, 1)


def foretell(
    model: ActionModel,
    dataset: Dataset,
    fold: Fold,
    actions: ActionsConfig,
    *,
    history_limit: int,
    most: int,
    seed: int,
) -> Foretold:
    """Ask a model about the cases of a fold's test window; the arguments are `judge_heads`'."""
    log, catalogue = with_people(dataset.log, dataset.attributes), len(dataset.catalogue)
    found = drawn(cases(log, catalogue, fold.test_start, fold.test_end), most, seed)
    asked = log.of_types(actions.histories, actions)
    users = log.user_of_event[found.rows]
    items = log.items[found.rows].astype(np.int64)
    parts = [np.zeros((0, len(actions.types)), np.float32)]
    for start in range(0, len(found), _BLOCK):
        rows = slice(start, start + _BLOCK)
        histories = asked.asked(users[rows], found.moments[rows], history_limit, log)
        parts.append(model.action_probabilities(histories, items[rows, None])[:, 0])
    chances_NA = np.concatenate(parts).astype(np.float64)
    return Foretold(users, items, found.reached.astype(np.int64), chances_NA)


def judge_heads(
    model: ActionModel,
    dataset: Dataset,
    fold: Fold,
    actions: ActionsConfig,
    *,
    history_limit: int,
    most: int,
    seed: int,
) -> tuple[Head, ...]:
    """Judge every event type but the least one; a type that all or no cases reach is left out.

    Args:
        model: trained on what lies before the fold's test window.
        dataset: the log of all event types.
        fold: the cut.
        actions: the event types and which of them make history.
        history_limit: most recent events of a history.
        most: cases that are looked at; beyond it they are drawn at random.
        seed: of that draw.
    """
    told = foretell(
        model, dataset, fold, actions, history_limit=history_limit, most=most, seed=seed
    )
    if not len(told.users):
        return ()
    shares_AI = item_shares(dataset, fold, len(actions.types))
    heads = []
    for code in range(2, len(actions.types) + 1):
        reached, chance = told.reaching(code)
        if not reached.all() and reached.any():
            share = shares_AI[code - 1, told.items]
            heads.append(_head(actions.types[code - 1], told.users, reached, chance, share))
    return tuple(heads)


def _head(
    event: str, users: NDArray[np.int64], reached: Bools, chance: Doubles, share: Doubles
) -> Head:
    grouped, by_item = user_auc(users, reached, chance), user_auc(users, reached, share)
    return Head(
        event=event,
        cases=len(reached),
        positives=int(reached.sum()),
        users=len(np.unique(users)),
        judged_users=len(grouped.users),
        auc=auc(reached, chance),
        user_auc=grouped.value,
        log_loss=log_loss(reached, chance),
        item_auc=auc(reached, share),
        item_user_auc=by_item.value,
        item_log_loss=log_loss(reached, share),
        decisions=confusion(reached, chance, float(reached.mean())),
        curve=reliability(reached, chance),
    )


def item_shares(dataset: Dataset, fold: Fold, types: int) -> Doubles:
    """Return the share of each item's cases before the test window that went so far, (A, I).

    It is drawn towards the share of all cases, the more the fewer cases an item has.
    """
    log, count = dataset.log, len(dataset.catalogue)
    known = cases(log, count, int(log.times.min(initial=fold.test_start)), fold.test_start)
    items = log.items[known.rows]
    shown_I = np.bincount(items, minlength=count)
    shares_AI = np.empty((types, count))
    for place in range(types):
        reached = known.reached > place
        overall = float(reached.mean()) if len(reached) else 0.5
        far_I = np.bincount(items, reached, minlength=count)
        shares_AI[place] = (far_I + _STRENGTH * overall) / (shown_I + _STRENGTH)
    return shares_AI
