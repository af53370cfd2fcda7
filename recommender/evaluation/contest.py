"""Several systems, fitted cut by cut and measured on one frozen set of requests.

Where `assess` judges a candidate for the gate, this compares any systems with each other: what they
find, what they cost to fit, how large they are, and how long one answer takes.

Shape letters: I items.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recommender.artifact import Model
from recommender.config import Config
from recommender.errors import EvaluationError
from recommender.evaluation.freeze import freeze, known_at_cuts
from recommender.evaluation.frozen import EvaluationSet
from recommender.evaluation.panel import Panel
from recommender.evaluation.score import Scored, score
from recommender.features.dataset import Dataset
from recommender.features.sequences import Ints
from recommender.split import Fold

_TIMED = 40


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
        numbers: in the weights of its last model, frozen vectors included.
        answer_ms: median time of one request's scores, milliseconds.
    """

    kind: str
    cpu_s: float
    numbers: int
    answer_ms: float


@dataclass(frozen=True)
class Contest:
    """The outcome.

    Attributes:
        panel: every system's metrics on the same requests; the first is what others are compared
            with.
        costs: by name.
        folds: of each fold, the distinct users asked in it.
    """

    panel: Panel
    costs: dict[str, Cost]
    folds: tuple[int, ...]


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
    costs: dict[str, Cost] = {}
    for each in contestants:
        runs[each.name], costs[each.name] = _of(each, dataset, asked_by_fold, config)
    kinds = {name: cost.kind for name, cost in costs.items()}
    asked = tuple(
        len(np.unique(requests.users[requests.of_fold(n)])) for n in range(len(dataset.folds))
    )
    return Contest(Panel(requests, runs, kinds, config.evaluation, config.seed), costs, asked)


def _of(
    contestant: Contestant, dataset: Dataset, asked: Sequence[EvaluationSet], config: Config
) -> tuple[list[Scored], Cost]:
    """Fit one system at every cut, and score it."""
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
    numbers = sum(int(array.size) for array in model.scorer.weights().values())
    answer_ms = _answer_ms(model, asked[-1], asked[-1].of_fold(len(asked) - 1))
    return scored, Cost(model.scorer.kind, cpu, numbers, answer_ms)


def _answer_ms(model: Model, requests: EvaluationSet, rows: Ints) -> float:
    """Return the median time of a request, one at a time; the first few warm up."""
    times = []
    for row in rows[: _TIMED + 5]:
        history = requests.histories(np.array([row])).recent(model.history)
        started = time.perf_counter()
        model.ranker.scores(history)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times[5:] or times or [float("nan")]))
