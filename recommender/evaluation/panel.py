"""Systems that were measured on the same users, ready to be compared.

Shape letters: U users, S systems, M metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from recommender.config.evaluation import EvaluationConfig
from recommender.evaluation.evidence import Comparison, System
from recommender.evaluation.frozen import EvaluationSet
from recommender.evaluation.metrics import Doubles, metric_names, per_user
from recommender.evaluation.multiplicity import holm, paired_ps
from recommender.evaluation.records import Interval, rounded
from recommender.evaluation.score import Scored
from recommender.evaluation.statistics import Intervals, PairedBootstrap
from recommender.features.sequences import Ints


@dataclass(frozen=True)
class Panel:
    """The candidate (first) and others, scored on the same requests.

    Attributes:
        requests: the frozen set.
        runs: what each system made of the same rows of the set, a part per fold; by name.
        kinds: of the systems' artifacts; by name.
        config: cut-offs, resamples, level.
        seed: of the bootstrap.
    """

    requests: EvaluationSet
    runs: Mapping[str, Sequence[Scored]]
    kinds: Mapping[str, str]
    config: EvaluationConfig
    seed: int

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, (M,)."""
        return metric_names(self.config.k)

    @cached_property
    def users(self) -> Ints:
        """Rows of the users in the frozen set's log, rising, (U,)."""
        return np.unique(self.requests.users[self.rows])

    @cached_property
    def values(self) -> Doubles:
        """Every user's mean metrics, (U, S, M)."""
        users = self.requests.users[self.rows]
        values = []
        for parts in self.runs.values():
            _, values_UM = per_user(np.concatenate([part.metrics for part in parts]), users)
            values.append(values_UM)
        return np.stack(values, axis=1)

    @property
    def systems(self) -> tuple[System, ...]:
        """Every system with its metrics."""
        return tuple(
            System(
                name=name,
                kind=self.kinds[name],
                users=len(self.users),
                metrics=self._named(self._bootstrap.mean(place)),
                nonfinite_scores=sum(part.nonfinite for part in parts),
                tied_lists=sum(part.tied for part in parts),
            )
            for place, (name, parts) in enumerate(self.runs.items())
        )

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The first system against each of the others."""
        first, *others = self.runs
        return tuple(self.comparison(first, rival) for rival in others)

    def comparison(self, name: str, rival: str) -> Comparison:
        """Compare a system, in the place of the candidate, with another."""
        ours, theirs = list(self.runs).index(name), list(self.runs).index(rival)
        bootstrap = self._bootstrap
        detectable = bootstrap.detectable(ours, theirs)
        p_values = paired_ps(self.values[:, ours] - self.values[:, theirs])
        return Comparison(
            rival=rival,
            users=len(self.users),
            candidate=self._named(bootstrap.mean(ours)),
            rival_metrics=self._named(bootstrap.mean(theirs)),
            difference=self._named(bootstrap.difference(ours, theirs)),
            relative=self._named(bootstrap.relative(ours, theirs)),
            detectable=self._each(detectable),
            p=self._each(p_values),
            adjusted=self._each(holm(p_values)),
        )

    def table(self) -> pa.Table:
        """Return a row per user: pseudonym, requests, and a column `<system>/<metric>` for all."""
        counts = np.bincount(
            np.searchsorted(self.users, self.requests.users[self.rows]), minlength=len(self.users)
        )
        columns = {
            "user": pa.array([self.requests.log.users[user] for user in self.users], pa.string()),
            "requests": pa.array(counts),
        }
        for place, name in enumerate(self.runs):
            for m, metric in enumerate(self.metrics):
                columns[f"{name}/{metric}"] = pa.array(self.values[:, place, m])
        return pa.table(columns)

    @cached_property
    def rows(self) -> Ints:
        """Rows of the requests in the frozen set, in the order of the runs, (B,)."""
        first = next(iter(self.runs.values()))
        return np.concatenate([part.rows for part in first])

    @cached_property
    def _bootstrap(self) -> PairedBootstrap:
        return PairedBootstrap(
            self.values,
            resamples=self.config.resamples,
            confidence=self.config.confidence,
            seed=self.seed,
        )

    def _each(self, values_M: Doubles) -> dict[str, float | None]:
        return dict(zip(self.metrics, map(rounded, values_M), strict=True))

    def _named(self, intervals: Intervals) -> dict[str, Interval]:
        ends = zip(intervals.estimate, intervals.low, intervals.high, strict=True)
        return {
            metric: Interval.of(estimate, low, high)
            for metric, (estimate, low, high) in zip(self.metrics, ends, strict=True)
        }
