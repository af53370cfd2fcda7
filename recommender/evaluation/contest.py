"""Several systems, fitted cut by cut and measured on one frozen set of requests.

Where `assess` judges a candidate for the gate, this compares any systems with each other: what they
find, what they cost to fit, how large they are, and how long one answer takes.

Shape letters: I items.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from recommender.artifact import Model
from recommender.config import Config
from recommender.errors import EvaluationError
from recommender.evaluation.freeze import freeze, known_at_cuts
from recommender.evaluation.frozen import EvaluationSet
from recommender.evaluation.panel import Panel
from recommender.evaluation.score import Scored, score
from recommender.features.dataset import Dataset
from recommender.features.sequences import Ints
from recommender.ranking import rank
from recommender.scoring import learned_numbers
from recommender.split import Fold

_TIMED, _WARM = 100, 5


@dataclass(frozen=True)
class Contestant:
    """A system that takes part.

    Attributes:
        name: in tables.
        fit: makes a model of what lies before a fold's test window, by the given configuration.
        config: its own, with the same split and actions as everybody's.
    """

    name: str
    fit: Callable[[Dataset, Fold, Config], Model]
    config: Config


@dataclass(frozen=True)
class Cost:
    """What a system takes.

    Attributes:
        kind: of its artifact.
        cpu_s: CPU seconds of all its fits (this process only).
        numbers: learned for its last model, by gradient or by counting; frozen vectors of text
            and what the catalogue says of items are not among them.
        answer_ms: median wall time of one answer, milliseconds: one history scored, the list
            filtered and ranked, by one thread; None of what ranks no catalogue.
    """

    kind: str
    cpu_s: float
    numbers: int
    answer_ms: float | None


@dataclass(frozen=True)
class Contest:
    """The outcome.

    Attributes:
        panel: every system's metrics on the same requests; the first is what others are compared
            with.
        costs: by name.
        folds: of each fold, the distinct users asked in it.
        models: of the last cut, by name.
    """

    panel: Panel
    costs: dict[str, Cost]
    folds: tuple[int, ...]
    models: dict[str, Model]


def hold(
    dataset: Dataset,
    contestants: Sequence[Contestant],
    config: Config,
    requests: EvaluationSet | None = None,
) -> Contest:
    """Fit and measure everybody.

    Args:
        dataset: the log and its folds.
        contestants: distinct names; the first is compared with each of the others.
        config: of the requests, the metrics and the intervals.
        requests: a frozen set of the same folds; None: that of the product, see `freeze`.

    Raises:
        EvaluationError: nobody takes part, a name occurs twice, or no request can be scored.
    """
    names = [each.name for each in contestants]
    if not names or len(set(names)) != len(names):
        raise EvaluationError(f"a contest needs systems with different names, not {names}")
    if requests is None:
        requests = freeze(
            dataset,
            config.actions,
            config.features.history_limit,
            config.evaluation.requests_per_user,
        )
    asked_by_fold = known_at_cuts(requests, dataset, config.actions)
    runs: dict[str, list[Scored]] = {}
    models: dict[str, Model] = {}
    cpu: dict[str, float] = {}
    for each in contestants:
        runs[each.name], models[each.name], cpu[each.name] = _of(
            each, dataset, asked_by_fold, config
        )
    last = asked_by_fold[-1]
    times = answer_times(
        models, last, last.of_fold(len(asked_by_fold) - 1), max(config.evaluation.k)
    )
    costs = {
        name: Cost(model.scorer.kind, cpu[name], learned_numbers(model.scorer), times[name])
        for name, model in models.items()
    }
    kinds = {name: cost.kind for name, cost in costs.items()}
    asked = tuple(
        len(np.unique(requests.users[requests.of_fold(n)])) for n in range(len(dataset.folds))
    )
    return Contest(
        Panel(requests, runs, kinds, config.evaluation, config.seed), costs, asked, models
    )


def _of(
    contestant: Contestant, dataset: Dataset, asked: Sequence[EvaluationSet], config: Config
) -> tuple[list[Scored], Model, float]:
    """Fit one system at every cut, and score it; return the last model and the CPU seconds."""
    scored: list[Scored] = []
    cpu = 0.0
    for n, fold in enumerate(dataset.folds):
        started = time.process_time()
        model = contestant.fit(dataset, fold, contestant.config)
        cpu += time.process_time() - started
        scored.append(
            score(
                model.ranker,
                model.history,
                asked[n],
                asked[n].of_fold(n),
                config.evaluation.k,
                label=f"{contestant.name}, cut {n + 1} of {len(dataset.folds)}",
                block_bytes=config.evaluation.block_mb * 2**20,
            )
        )
    return scored, model, cpu


def answer_times(
    models: Mapping[str, Model], requests: EvaluationSet, rows: Ints, depth: int
) -> dict[str, float]:
    """Return how long one answer takes each model, the median in milliseconds of wall time.

    The models answer the same requests in turn, so that whatever else the machine does falls on
    all of them alike; the first few requests warm up.

    Args:
        models: by name.
        requests: the frozen set.
        rows: whose requests are asked, evenly spread.
        depth: length of the lists.
    """
    count = min(len(rows), _TIMED + _WARM)
    chosen = rows[np.linspace(0, max(len(rows) - 1, 0), count).astype(np.int64)]
    times: dict[str, list[float]] = {name: [] for name in models}
    with threadpool_limits(limits=1):
        for row in chosen:
            history = requests.histories(np.array([row]))
            for name, model in models.items():
                started = time.perf_counter()
                rank(
                    model.ranker,
                    history,
                    depth,
                    reads=model.history,
                    exclude_seen=requests.exclude_seen,
                )
                times[name].append(1000 * (time.perf_counter() - started))
    return {
        name: float(np.median(each[_WARM:] or each or [float("nan")]))
        for name, each in times.items()
    }
