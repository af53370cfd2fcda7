"""NDCG@10 of the validation window, asked as it would be served: what early stopping looks at.

Other measures that it may look at are in `recommender.training.case_judges`.

A request is a moment at which a user did something that makes history; the scorer sees what lay
strictly before it and ranks the whole catalogue; what the user took with success at that moment
is relevant. The mean is over users, each with the mean of their requests.

Shape letters: R requests, N relevant (request, item) pairs, I items, K = 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recommender.config.actions import ActionsConfig
from recommender.features.sequences import EventLog, Histories, Ints
from recommender.scoring import Scorer, mask_seen, top_k

K = 10
_AT_ONCE = 512
_DISCOUNT_K = 1 / np.log2(np.arange(K) + 2)
_IDEAL_K = np.cumsum(_DISCOUNT_K)


@dataclass(frozen=True)
class Judged:
    """What a model was worth after an epoch; measures that were not asked for are None.

    Attributes:
        value: by which epochs are compared, higher is better; may be negative.
        ndcg: NDCG@10 of the next items, mean over users.
        auc: AUC within users, mean over event types.
        rmse: error of the values that are foretold, in units of their own deviation.
    """

    value: float
    ndcg: float | None = None
    auc: float | None = None
    rmse: float | None = None


class Judge(Protocol):
    """What early stopping asks after each epoch."""

    def __len__(self) -> int:
        """Requests."""

    @property
    def users(self) -> int:
        """How many users stand behind the figure."""

    def judge(self, scorer: Scorer) -> Judged:
        """Say what a model is worth."""


@dataclass(frozen=True)
class Validation:
    """The requests of a window, ready to be scored again and again.

    Attributes:
        histories: what lies strictly before each request, as the online store keeps it.
        exclude_seen: whether items of the history are left out of the ranking.
        user: of each request, dense from 0, (R,).
        relevant: `request × items + item` of each relevant pair, ascending, (N,).
        relevant_of: how many are relevant at each request, at least one, (R,).
    """

    histories: Histories
    exclude_seen: bool
    user: Ints
    relevant: Ints
    relevant_of: Ints

    @classmethod
    def build(
        cls,
        log: EventLog,
        start: int,
        stop: int,
        items: int,
        actions: ActionsConfig,
        limit: int,
        requests_per_user: int,
        users: int,
    ) -> Validation:
        """Find the requests.

        Args:
            log: events of all types; nothing at or after `stop` is read.
            start: of the window, UTC milliseconds.
            stop: the end of the window, exclusive.
            items: I.
            actions: the types of history and success, and whether seen items are excluded.
            limit: most recent events of a history.
            requests_per_user: at most this many requests of one user, the earliest of those with
                something relevant.
            users: at most this many users, evenly spread over the log.
        """
        history = log.before(stop).of_types(actions.histories, actions)
        inside = np.flatnonzero(history.times >= start)
        user_E, time_E = history.user_of_event[inside], history.times[inside]
        new_E = np.ones(len(inside), bool)
        new_E[1:] = (np.diff(user_E) != 0) | (np.diff(time_E) != 0)
        request_E = np.cumsum(new_E) - 1
        user_R, time_R = user_E[new_E], time_E[new_E]

        is_success_E = np.isin(
            history.actions[inside], [actions.code(name) for name in actions.successes]
        )
        cells_E = request_E * items + history.items[inside].astype(np.int64)
        relevant: Ints = np.unique(cells_E[is_success_E])
        if actions.exclude_seen:
            past = history.histories(user_R, time_R, limit)
            owner = np.repeat(np.arange(len(past)), past.lengths)
            relevant = relevant[~np.isin(relevant, owner * items + past.items)]

        # Only requests with something to find count, then the earliest of each user.
        counts_R = np.bincount(relevant // items, minlength=len(user_R))
        kept_R = counts_R > 0
        nth_R = _place_in_run(user_R, kept_R)
        kept_R &= nth_R < requests_per_user
        present = np.unique(user_R[kept_R])
        if len(present) > users:
            present = present[np.linspace(0, len(present) - 1, users).round().astype(int)]
            kept_R &= np.isin(user_R, present)
        rows = np.flatnonzero(kept_R)
        place_R = np.cumsum(kept_R) - 1
        chosen = kept_R[relevant // items]
        relevant = place_R[relevant[chosen] // items] * items + relevant[chosen] % items
        user_R, time_R = user_R[rows], time_R[rows]
        return cls(
            history.asked(user_R, time_R, limit),
            actions.exclude_seen,
            np.unique(user_R, return_inverse=True)[1].astype(np.int64),
            relevant,
            counts_R[rows].astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.user)

    @property
    def users(self) -> int:
        """How many users stand behind the figure."""
        return int(self.user.max(initial=-1)) + 1

    def ndcg(self, scorer: Scorer) -> float:
        """Return the mean NDCG@10 over users; 0 where nobody asks.

        NDCG with binary relevance: Järvelin & Kekäläinen 2002, discount 1 / log2(rank + 1).
        """
        return float(self.ndcg_of_users(scorer).mean()) if len(self) else 0.0

    def judge(self, scorer: Scorer) -> Judged:
        """Judge by NDCG@10."""
        ndcg = self.ndcg(scorer)
        return Judged(ndcg, ndcg=ndcg)

    def ndcg_of_users(self, scorer: Scorer) -> NDArray[np.float64]:
        """Return the mean NDCG@10 of each user's requests, in the order of `user`."""
        ndcg_R = np.empty(len(self))
        for start in range(0, len(self), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(self))
            histories = self.histories.slice(start, stop)
            scores_RI = scorer.scores(histories)
            if self.exclude_seen:
                mask_seen(scores_RI, histories)
            best_RK, _ = top_k(scores_RI, K)
            cells_RK = np.arange(start, stop)[:, None] * scores_RI.shape[1] + best_RK
            gain_R = np.isin(cells_RK, self.relevant) @ _DISCOUNT_K[: best_RK.shape[1]]
            ideal_R = _IDEAL_K[np.minimum(self.relevant_of[start:stop], best_RK.shape[1]) - 1]
            ndcg_R[start:stop] = gain_R / ideal_R
        per_user: NDArray[np.float64] = np.bincount(self.user, ndcg_R) / np.bincount(self.user)
        return per_user


def _place_in_run(user_R: Ints, counts_R: NDArray[np.bool_]) -> Ints:
    """Return how many earlier rows of the same user count, (R,); rows are grouped by user."""
    if not len(user_R):
        return np.zeros(0, np.int64)
    before_R: Ints = np.cumsum(counts_R) - counts_R
    starts = np.flatnonzero(np.diff(user_R, prepend=-1) != 0)
    runs = np.diff(np.append(starts, len(user_R)))
    return before_R - np.repeat(before_R[starts], runs)
