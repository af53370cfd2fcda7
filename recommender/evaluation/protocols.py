"""Other ways to ask, for comparison: leave-one-out, and sessions by themselves.

The product is judged by the global time split (`freeze.py`). Leave-one-out is what papers report:
each user's last item is the test, the one before it the validation. It lets training see what
others did after the test (Ji et al. 2023, A critical study on data leakage in recommender system
offline evaluation), so its figures are for comparison with papers only, and labelled so.

Shape letters: E events, R requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recommender.config.actions import ActionsConfig
from recommender.errors import EvaluationError
from recommender.evaluation.frozen import EvaluationSet
from recommender.features.cases import session_of_event
from recommender.features.dataset import Dataset
from recommender.features.sequences import EventLog, Ints
from recommender.split import Fold

LEAVE_ONE_OUT = "leave-one-out (for comparison with papers)"


@dataclass(frozen=True)
class LeaveOneOut:
    """A log cut per user.

    Attributes:
        train: without each user's last two events.
        validation: asks for the last but one.
        test: asks for the last, from everything before it, the validation item included.
    """

    train: EventLog
    validation: EvaluationSet
    test: EvaluationSet


def leave_one_out(dataset: Dataset, actions: ActionsConfig, history_limit: int) -> LeaveOneOut:
    """Cut every user's history before its last event, and before the one before that.

    Users with fewer than three events stay in training and are named as unscored. Where several
    events share a time, they are taken in the order of the log; times are replaced by places, so
    that "strictly before" means "earlier in the user's order".

    Args:
        dataset: the log and catalogue.
        actions: which event types make history; the last of them is asked for, whatever its type.
        history_limit: most recent events of a history.

    Raises:
        EvaluationError: no user has three events.
    """
    log = dataset.log.of_types(actions.histories, actions)
    counts = np.diff(log.offsets)
    asked = np.flatnonzero(counts >= 3)
    if not len(asked):
        raise EvaluationError(
            f"none of {len(counts)} users has three events, so nothing can be left out",
            "use the global time split",
        )
    place = np.arange(len(log)) - log.offsets[log.user_of_event]
    ordered = replace(log, times=place)
    from_end = counts[log.user_of_event] - place  # 1 is the last
    scored = counts[log.user_of_event] >= 3
    # The training log keeps its clock: only the order of what is asked is by place.
    train = log.where(~(scored & (from_end <= 2)))
    unscored = {
        log.users[user]: "has fewer than three events" for user in np.flatnonzero(counts < 3)
    }
    validation, test = (
        _last(ordered, dataset, asked, counts, back, actions, history_limit, unscored)
        for back in (2, 1)
    )
    return LeaveOneOut(train, validation, test)


def _last(
    ordered: EventLog,
    dataset: Dataset,
    users: Ints,
    counts: Ints,
    back: int,
    actions: ActionsConfig,
    history_limit: int,
    unscored: dict[str, str],
) -> EvaluationSet:
    targets = ordered.offsets[users] + counts[users] - back
    relevant = ordered.items[targets]
    kept = np.ones(len(users), bool)
    if actions.exclude_seen:
        start = np.maximum(ordered.offsets[users], targets - history_limit)
        seen = [
            relevant[row] in ordered.items[start[row] : targets[row]] for row in range(len(users))
        ]
        kept = ~np.array(seen)
    span = int(counts.max()) + 1
    return EvaluationSet(
        log=ordered,
        catalogue=dataset.catalogue,
        users=users[kept],
        times=counts[users[kept]] - back,
        folds=np.zeros(int(kept.sum()), np.int64),
        relevant=relevant[kept],
        offsets=np.arange(int(kept.sum()) + 1, dtype=np.int64),
        windows=(Fold(0, 0, span),),
        history_limit=history_limit,
        exclude_seen=actions.exclude_seen,
        data_version=dataset.data_version,
        unscored=dict(unscored),
        counts={LEAVE_ONE_OUT: int(kept.sum()), "took an item already seen": int((~kept).sum())},
    )


def by_session(log: EventLog) -> EventLog:
    """Return the log with every session as a user of its own: `<user>#<number>`.

    Frozen (`freeze.freeze`) and scored like any other log, it tells how well a model does for
    somebody it knows nothing of but the present visit. Sessions of one person are not independent
    of each other, so intervals over sessions are too narrow where people have many.
    """
    session_E = session_of_event(log)
    count = int(session_E[-1]) + 1 if len(log) else 0
    first = np.searchsorted(session_E, np.arange(count))
    owner = log.user_of_event[first]
    number = np.arange(count) - np.searchsorted(owner, owner)
    return replace(
        log,
        users=tuple(f"{log.users[user]}#{n}" for user, n in zip(owner, number, strict=True)),
        offsets=np.concatenate([first, [len(log)]]).astype(np.int64),
    )
