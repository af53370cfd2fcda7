"""What early stopping looks at where the model is to rank what is put in front of people.

The cases are those on which heads are judged (`recommender.features.cases`): the first touch of an
item in a session of the validation window, asked at the moment it was shown, with the history
strictly before that.

Shape letters: N cases, A event types, G values that are foretold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from recommender.config import Config
from recommender.config.actions import ActionsConfig
from recommender.config.ranking import ValueConfig
from recommender.errors import TrainingError
from recommender.evaluation.metrics.classification import mean_user_auc
from recommender.evaluation.metrics.rating import rmse
from recommender.features.cases import Cases, carried, cases, drawn
from recommender.features.dataset import Dataset
from recommender.features.sequences import EventLog, Histories, Ints
from recommender.scoring import ActionModel, Scorer, ValueModel
from recommender.split import Fold
from recommender.training.log_read import log_read
from recommender.training.validation import Judge, Judged, Validation

_AT_ONCE = 2048
_MOST = 20_000
_REMEDY = "set training.keep_by: ndcg, which the next items themselves can tell"


@dataclass(frozen=True)
class CaseWindow:
    """Items in front of people in a window of time, drawn where there are very many.

    Attributes:
        history: events of the types that make history.
        log: all events.
        found: the cases, places in `log`.
        limit: most recent events of a history that are read.
        actions: the event types.
    """

    history: EventLog
    log: EventLog
    found: Cases
    limit: int
    actions: ActionsConfig

    @classmethod
    def of(cls, dataset: Dataset, fold: Fold, config: Config) -> CaseWindow:
        """Find the cases of a fold's validation window.

        Args:
            dataset: the log of all event types.
            fold: the cut; nothing at or after `test_start` is read.
            config: the whole tree.

        Raises:
            ConfigError: the model is to read what the data set does not hold.
        """
        log = log_read(dataset, config).before(fold.test_start)
        found = cases(log, len(dataset.catalogue), fold.validation_start, fold.test_start)
        history = log.of_types(config.actions.histories, config.actions)
        limit = config.features.history_limit
        return cls(history, log, drawn(found, _MOST, config.seed), limit, config.actions)

    def __len__(self) -> int:
        return len(self.found)

    @property
    def user_of_case(self) -> Ints:
        """Whose each case is, rows of the log's users, (N,)."""
        return self.log.user_of_event[self.found.rows]

    def asked(self, rows: Ints) -> tuple[Histories, Ints]:
        """Return the histories and the items of some cases, (B,) and (B, 1)."""
        users = self.log.user_of_event[self.found.rows[rows]]
        moments = self.found.moments[rows]
        histories = self.history.asked(users, moments, self.limit, self.log)
        return histories, self.log.items[self.found.rows[rows]].astype(np.int64)[:, None]

    def parts(self, rows: Ints) -> list[Ints]:
        """Return rows in as many parts as are asked about one after the other."""
        return np.array_split(rows, max(1, -(-len(rows) // _AT_ONCE)))


@dataclass(frozen=True)
class ByAUC:
    """Judges by the mean over event types of the AUC within users."""

    window: CaseWindow

    @classmethod
    def of(cls, window: CaseWindow) -> ByAUC:
        """Make sure that there is something to tell apart.

        Raises:
            TrainingError: nobody has cases of both kinds.
        """
        users, reached = window.user_of_case, window.found.reached
        even_NA = np.zeros((len(window), len(window.actions.types)))
        if np.isnan(mean_user_auc(users, reached, even_NA)):
            raise TrainingError(
                f"training.keep_by looks at the AUC within users, but of the {len(window)} items "
                f"in front of {len(np.unique(users))} people in the validation window nobody took "
                "some farther than others",
                f"{_REMEDY}; or name lesser event types in actions.types, such as an impression",
            )
        return cls(window)

    def __len__(self) -> int:
        return len(self.window)

    @property
    def users(self) -> int:
        """How many people stand behind the figure."""
        return len(np.unique(self.window.user_of_case))

    def judge(self, scorer: Scorer) -> Judged:
        """Ask about all cases."""
        window, model = self.window, cast(ActionModel, scorer)
        chances = [
            model.action_probabilities(*window.asked(rows))[:, 0]
            for rows in window.parts(np.arange(len(window)))
        ]
        chances_NA = np.concatenate(chances).astype(np.float64)
        value = mean_user_auc(window.user_of_case, window.found.reached, chances_NA)
        return Judged(value, auc=value)


@dataclass(frozen=True)
class ByError:
    """Judges by how far the values that are foretold are from those that were given.

    The error of each kind of value is told in units of its own deviation in the window, so that 1
    is that of who always says the mean, and several kinds can be averaged.

    Attributes:
        window: the cases.
        code_G: an event type of each kind of value, as a place among the types.
        given_NG: what was given; NaN where nothing was.
        deviation_G: of each kind.
    """

    window: CaseWindow
    code_G: tuple[int, ...]
    given_NG: NDArray[np.float64]
    deviation_G: NDArray[np.float64]

    @classmethod
    def of(cls, window: CaseWindow, values: tuple[ValueConfig, ...], fold: Fold) -> ByError:
        """Look up what was given.

        Args:
            window: the cases.
            values: the kinds that the model foretells, at least one.
            fold: of the window.

        Raises:
            TrainingError: nothing was given of some kind, or always the same.
        """
        codes = [[window.actions.code(event) for event in value.events] for value in values]
        items = int(window.log.items.max(initial=0)) + 1
        given = carried(window.log, items, window.found, codes, fold.test_start)
        given_NG = given.astype(np.float64)
        for value, given_N in zip(values, given_NG.T, strict=True):
            told = given_N[~np.isnan(given_N)]
            if not len(told) or told.std() == 0:
                what = f"only {told[0]:g}" if len(told) else "no value"
                raise TrainingError(
                    f"training.keep_by looks at the error of {value.name}, but {what} was given "
                    "with any item in the validation window",
                    _REMEDY,
                )
        code_G = tuple(kinds[0] - 1 for kinds in codes)
        return cls(window, code_G, given_NG, np.nanstd(given_NG, axis=0))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def users(self) -> int:
        """How many people stand behind the figure."""
        return len(np.unique(self.window.user_of_case[self._rows]))

    @property
    def _rows(self) -> Ints:
        return np.flatnonzero(~np.isnan(self.given_NG).all(axis=1))

    def judge(self, scorer: Scorer) -> Judged:
        """Ask about the cases of which something is known."""
        window, model, rows = self.window, cast(ValueModel, scorer), self._rows
        told = [model.expected_values(*window.asked(some))[:, 0] for some in window.parts(rows)]
        told_NG = np.concatenate(told).astype(np.float64)[:, list(self.code_G)]
        errors = []
        for given_N, told_N, deviation in zip(
            self.given_NG[rows].T, told_NG.T, self.deviation_G, strict=True
        ):
            has_N = ~np.isnan(given_N)
            errors.append(rmse(given_N[has_N], told_N[has_N]) / deviation)
        value = float(np.mean(errors))
        return Judged(-value, rmse=value)


@dataclass(frozen=True)
class ByBoth:
    """Judges by what retrieves and by what ranks: the geometric mean of NDCG@10 and 2 AUC - 1.

    Both are 0 for who knows nothing, about (NDCG) or exactly (AUC), and 1 at best; so a share more
    of the one weighs as much as that share more of the other, whatever their sizes are.
    """

    validation: Validation
    cases: ByAUC

    def __len__(self) -> int:
        return len(self.validation)

    @property
    def users(self) -> int:
        """How many people stand behind the NDCG."""
        return self.validation.users

    def judge(self, scorer: Scorer) -> Judged:
        """Ask both."""
        ndcg, auc = self.validation.ndcg(scorer), self.cases.judge(scorer).value
        return Judged(float(np.sqrt(ndcg * max(0.0, 2 * auc - 1))), ndcg=ndcg, auc=auc)


def judge_of(dataset: Dataset, fold: Fold, config: Config) -> Judge:
    """Return what is asked after each epoch, as `training.keep_by` says.

    Args:
        dataset: log, catalogue.
        fold: of its validation window.
        config: the whole tree.

    Raises:
        ConfigError: the model is to read what the data set does not hold.
        TrainingError: there are no outcomes to judge by.
    """
    keep_by = config.training.keep_by
    if keep_by == "auc":
        return ByAUC.of(CaseWindow.of(dataset, fold, config))
    if keep_by == "rmse":
        values = config.model.ranking.values
        return ByError.of(CaseWindow.of(dataset, fold, config), values, fold)
    validation = Validation.build(
        log_read(dataset, config),
        fold.validation_start,
        fold.test_start,
        len(dataset.catalogue),
        config.actions,
        config.features.history_limit,
        config.evaluation.requests_per_user,
        config.training.validation_users,
    )
    if keep_by == "both":
        return ByBoth(validation, ByAUC.of(CaseWindow.of(dataset, fold, config)))
    return validation
