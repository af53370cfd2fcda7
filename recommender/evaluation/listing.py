"""What systems' lists are like, and what providers get for what they earn.

Shape letters: B requests, K places, I items.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recommender.config import Config
from recommender.evaluation.fairness import provider_exposure
from recommender.evaluation.findings import ListFacts, ProviderFacts
from recommender.evaluation.metrics import exposure as lists
from recommender.evaluation.panel import Panel
from recommender.evaluation.records import rounded
from recommender.features.dataset import Dataset
from recommender.features.sequences import Histories, Ints

Doubles = NDArray[np.float64]
PLACES = 10


def describe_lists(panel: Panel, dataset: Dataset, config: Config) -> tuple[ListFacts, ...]:
    """Describe the first ten places of every system's lists.

    What is popular, known or old is told from before the first test window only.
    """
    requests, items = panel.requests, len(dataset.catalogue)
    successes = dataset.log.of_types(config.actions.successes, config.actions)
    known = successes.before(requests.windows[0].test_start)
    popularity = np.bincount(known.items, minlength=items)
    seen_by = _people(known.user_of_event, known.items, items)
    plain = np.argsort(-popularity, kind="stable")[:PLACES]
    histories = requests.histories(panel.rows)
    own = _own_popularity(histories, popularity)
    born = _born(dataset)
    found = []
    for name, parts in panel.runs.items():
        top_BK = np.concatenate([part.top for part in parts])[:, :PLACES].astype(np.int64)
        hits_BK = _hits(panel, top_BK)
        expected = np.broadcast_to(plain, (len(top_BK), len(plain)))
        shown = lists.exposure(top_BK, items)
        found.append(
            ListFacts(
                system=name,
                coverage=lists.coverage(shown),
                gini=rounded(lists.gini(shown)),
                novelty=_mean(lists.novelty(top_BK, seen_by, len(known.users))),
                diversity=_mean(lists.intra_list_diversity(top_BK, dataset.text)),
                serendipity=_mean(lists.serendipity(top_BK, hits_BK, expected)),
                popularity_lift=_mean(lists.popularity_lift(top_BK, popularity.astype(float), own)),
                age_days=_mean(lists.freshness(top_BK, born, histories.now)),
            )
        )
    return tuple(found)


def describe_providers(panel: Panel, dataset: Dataset, config: Config) -> tuple[ProviderFacts, ...]:
    """Compare the candidate's exposure of the largest brands and categories with their merit."""
    first = next(iter(panel.runs.values()))
    top_BK = np.concatenate([part.top for part in first])[:, :PLACES].astype(np.int64)
    settings, found = config.evaluation.slices, []
    labels = {
        "category": [(row or [None])[0] for row in dataset.items["categories"].to_pylist()],
        "brand": dataset.items["brand"].to_pylist(),
    }
    for family, values in labels.items():
        names, row_I = np.unique(np.array([value or "" for value in values]), return_inverse=True)
        if len(names) < 2:
            continue
        provider_I = row_I.astype(np.int64)
        exposed = provider_exposure(
            top_BK, panel.requests.relevant.astype(np.int64), provider_I, len(names)
        )
        for row in np.argsort(-exposed.taken, kind="stable")[: settings.largest]:
            # Few takings tell little of what a provider earns.
            if not names[row] or exposed.taken[row] < settings.minimum_users:
                continue
            ratio, most = float(exposed.ratio[row]), settings.exposure_ratio
            found.append(
                ProviderFacts(
                    family=family,
                    name=str(names[row]),
                    shown=float(exposed.shown[row]),
                    earned=float(exposed.earned[row]),
                    ratio=ratio,
                    taken=int(exposed.taken[row]),
                    within=1 / most <= ratio <= most,
                )
            )
    return tuple(found)


def _hits(panel: Panel, top_BK: Ints) -> NDArray[np.bool_]:
    """Return which places were taken, (B, K), without a dense matrix of all items."""
    requests, items = panel.requests, len(panel.requests.catalogue)
    owner_P = np.repeat(np.arange(len(requests)), requests.relevant_counts)
    wanted = np.sort(owner_P * items + requests.relevant)
    asked_BK = panel.rows[:, None] * items + top_BK
    place = np.searchsorted(wanted, asked_BK)
    return np.asarray(wanted[np.minimum(place, len(wanted) - 1)] == asked_BK)


def _people(users: Ints, items: NDArray[np.int32], count: int) -> Ints:
    """Return how many different people took each item, (I,)."""
    pairs = np.unique(users * count + items)
    return np.bincount(pairs % count, minlength=count)


def _own_popularity(histories: Histories, popularity: Ints) -> Doubles:
    """Return the mean popularity of what is in each history; NaN for an empty one, (B,)."""
    running = np.concatenate([[0], np.cumsum(popularity[histories.items])])
    total = running[histories.offsets[1:]] - running[histories.offsets[:-1]]
    lengths = histories.lengths
    return np.where(lengths > 0, total / np.maximum(lengths, 1), np.nan)


def _born(dataset: Dataset) -> Ints:
    """Return when each item appeared: as the catalogue says, else its first event; -1 unknown."""
    first = np.full(len(dataset.catalogue), np.iinfo(np.int64).max)
    np.minimum.at(first, dataset.log.items, dataset.log.times)
    first[first == np.iinfo(np.int64).max] = -1
    created = dataset.items["created"].cast(pa.int64())
    known = created.is_valid().to_numpy()
    return np.where(known, created.fill_null(0).to_numpy(), first)


def _mean(values_B: Doubles) -> float | None:
    kept = values_B[~np.isnan(values_B)]
    return rounded(float(kept.mean())) if len(kept) else None
