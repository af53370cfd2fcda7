"""How the candidate does in groups of requests and of people, against one other system.

Shape letters: B requests of a panel, U users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config import Config
from recommender.config.evaluation import PRIMARY
from recommender.config.slices import SlicesConfig
from recommender.evaluation import slices
from recommender.evaluation.fairness import quality_gap
from recommender.evaluation.findings import GapFacts, SliceFacts
from recommender.evaluation.frozen import EvaluationSet
from recommender.evaluation.metrics import Doubles, per_user
from recommender.evaluation.multiplicity import holm, paired_p
from recommender.evaluation.panel import Panel
from recommender.evaluation.records import Interval, rounded
from recommender.evaluation.slices import Slice
from recommender.evaluation.statistics import PairedBootstrap
from recommender.features.dataset import Dataset
from recommender.features.language import language
from recommender.features.sequences import EventLog


def strongest(panel: Panel) -> str:
    """Return the rival with the best mean of the primary metric; the first of equals."""
    primary = panel.metrics.index(PRIMARY)
    means = panel.values[:, 1:, primary].mean(axis=0)
    return list(panel.runs)[1 + int(np.argmax(means))]


def groups(requests: EvaluationSet, dataset: Dataset, config: Config) -> list[Slice]:
    """Return every group of requests that results are shown by."""
    settings = config.evaluation.slices
    successes = dataset.log.of_types(config.actions.successes, config.actions)
    known = successes.before(requests.windows[0].test_start)
    counts = np.bincount(known.items, minlength=len(requests.catalogue))
    categories = [(row or [None])[0] for row in dataset.items["categories"].to_pylist()]
    brands = dataset.items["brand"].to_pylist()
    titles = dataset.items["title"].to_pylist()
    tongues = [language(title or "") or None for title in titles]
    # What an encoder can't read is not judged by: the report says so instead.
    unread = {each.name for each in dataset.languages if not each.known}
    found = chain(
        slices.by_history(requests),
        slices.by_recency(requests),
        slices.by_activity(requests),
        slices.by_popularity(requests, counts),
        slices.by_label(requests, "category", categories, settings.largest),
        slices.by_label(requests, "brand", brands, settings.largest),
        (
            each
            for each in slices.by_label(requests, "language", tongues, settings.largest)
            if each.name not in unread
        ),
        *(
            slices.by_attribute(requests, name, values, settings.largest)
            for name, values in attributes(
                requests.log, dataset.attributes, settings.attributes
            ).items()
        ),
    )
    kept = list(found)
    # A family with one group says what the total says.
    sizes = Counter(each.family for each in kept if each.requests.any())
    return [each for each in kept if sizes[each.family] > 1]


def attributes(
    log: EventLog, table: pa.Table | None, wanted: Sequence[str]
) -> dict[str, list[str | None]]:
    """Return each attribute's value of every user of a log; none where the data has none.

    Args:
        log: of pseudonyms.
        table: of a `Dataset`; may hold more, which the model reads.
        wanted: names of those that people are grouped by.
    """
    if table is None:
        return {}
    rows = {user: row for row, user in enumerate(table["user"].to_pylist())}
    columns = {name: table[name].to_pylist() for name in wanted if name in table.column_names}
    return {
        name: [values[rows[user]] if user in rows else None for user in log.users]
        for name, values in columns.items()
    }


def break_down(
    panel: Panel, wanted: Sequence[Slice], rival: str, config: Config
) -> tuple[SliceFacts, ...]:
    """Compare the candidate with a rival in every group.

    Args:
        panel: the candidate (first) and the rival, scored on the same requests.
        wanted: groups of the frozen set's requests.
        rival: name of the other system.
        config: level, resamples and sizes.
    """
    ours, theirs = (_primary(panel, name) for name in (next(iter(panel.runs)), rival))
    users_B = panel.requests.users[panel.rows]
    facts, p_values = [], []
    for each in wanted:
        inside = each.requests[panel.rows]
        if not inside.any():  # nobody is in it, which is told as well
            facts.append(_nobody(each))
            p_values.append(float("nan"))
            continue
        both = np.stack([ours[inside], theirs[inside]], axis=1)
        _, values_U2 = per_user(both, users_B[inside])
        facts.append(_facts(each, int(inside.sum()), values_U2, config))
        p_values.append(paired_p(values_U2[:, 0] - values_U2[:, 1]))
    corrected = holm(np.array(p_values))
    return tuple(
        fact.model_copy(update={"p": rounded(p)}) for fact, p in zip(facts, corrected, strict=True)
    )


def gaps(panel: Panel, dataset: Dataset, rival: str, config: Config) -> tuple[GapFacts, ...]:
    """Compare groups of people by each attribute that evaluation groups them by."""
    settings, found = config.evaluation.slices, []
    place = {name: row for row, name in enumerate(panel.runs)}
    primary = panel.metrics.index(PRIMARY)
    ours, theirs = (panel.values[:, place[name], primary] for name in (next(iter(place)), rival))
    grouped = attributes(panel.requests.log, dataset.attributes, settings.attributes)
    for family, values in grouped.items():
        mine = np.array([values[user] or "" for user in panel.users])
        names, group_U = np.unique(mine, return_inverse=True)
        gap = quality_gap(
            ours,
            group_U,
            len(names),
            minimum_users=settings.minimum_users,
            resamples=config.evaluation.resamples,
            confidence=config.evaluation.confidence,
            seed=config.seed,
        )
        if gap is None:
            continue
        other = float(theirs[group_U == gap.best].mean() - theirs[group_U == gap.worst].mean())
        beyond = gap.gap - max(other, 0.0)
        found.append(
            GapFacts(
                family=family,
                best=str(names[gap.best]) or "unknown",
                worst=str(names[gap.worst]) or "unknown",
                gap=Interval.of(gap.gap, gap.low, gap.high),
                rival_gap=other,
                tolerance=settings.quality_gap,
                within=beyond <= settings.quality_gap,
            )
        )
    return tuple(found)


def _nobody(each: Slice) -> SliceFacts:
    return SliceFacts(
        family=each.family,
        name=each.name,
        users=0,
        requests=0,
        candidate=None,
        rival=None,
        difference=Interval(estimate=None, low=None, high=None),
        relative=None,
        p=None,
        judged=False,
    )


def _facts(each: Slice, requests: int, values_U2: Doubles, config: Config) -> SliceFacts:
    settings: SlicesConfig = config.evaluation.slices
    bootstrap = PairedBootstrap(
        values_U2[:, :, None],
        resamples=config.evaluation.resamples,
        confidence=config.evaluation.confidence,
        seed=config.seed,
    )
    difference = bootstrap.difference(0, 1)
    ours, theirs = (float(mean) for mean in values_U2.mean(axis=0))
    return SliceFacts(
        family=each.family,
        name=each.name,
        users=len(values_U2),
        requests=requests,
        candidate=rounded(ours),
        rival=rounded(theirs),
        difference=Interval.of(difference.estimate[0], difference.low[0], difference.high[0]),
        relative=rounded(ours / theirs - 1) if theirs else None,
        p=None,
        judged=len(values_U2) >= settings.minimum_users,
    )


def _primary(panel: Panel, name: str) -> NDArray[np.float64]:
    """Return a system's primary metric of every request of the panel, (B,)."""
    column = panel.metrics.index(PRIMARY)
    return np.concatenate([part.metrics[:, column] for part in panel.runs[name]])
